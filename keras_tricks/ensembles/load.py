"""Ensembles from archives."""

import os
from collections.abc import Sequence
from pathlib import Path

from keras_tricks.ensembles import _archive
from keras_tricks.ensembles.ensemble import Ensemble


def load(
    filepath: str | os.PathLike[str], trusted: Sequence[str | type] | None = None
) -> Ensemble:
    """Loads an ensemble from the archive that `ensemble.save("x.zip")` wrote.

    When: an ensemble has members from scikit-learn. One of Keras models alone is better
        saved as a `.keras` file, for `keras.saving.load_model`.
    Typical: `trusted` as the error of the first try lists it, once you know the file.
    Costs: the loading of the members; Keras models are first unpacked to a temporary
        file, one at a time.
    Beware: names in `trusted` are imported and called: pass only types that you know.
        scikit-learn promises no estimator that works in another version of it.

    Nothing is unpickled. Keras members are loaded with `safe_mode=True` and not
    compiled; custom objects must be registered, or in a
    `keras.saving.custom_object_scope`. An archive that is not what `save` writes is
    refused before anything in it is loaded.

    Args:
        filepath: String or path, of the archive.
        trusted: List of types, or of their full names, that the estimators may hold
            beside those that skops trusts by itself; forests, say, need
            `["sklearn.tree._tree.Tree"]`. Defaults to None: no others.

    Returns:
        The `Ensemble`, with its weights, temperature and threshold.

    Raises:
        TypeError: If an argument has the wrong type.
        FileNotFoundError: If there is no such file.
        ImportError: If an estimator is in it and skops is not installed.
        ValueError: If the archive cannot be used, or holds types that are not trusted.

    Example:
    >>> import keras, numpy as np, pathlib, tempfile
    >>> import keras_tricks as kt
    >>> from sklearn.linear_model import LogisticRegression
    >>> x, y = np.eye(4), [0, 0, 1, 1]
    >>> network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> classical = LogisticRegression().fit(x, y)
    >>> ensemble = kt.ensembles.Ensemble([network, classical])
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "ensemble.zip"
    >>> ensemble.save(path)
    >>> again = kt.ensembles.load(path)
    >>> bool(np.allclose(again.predict(x), ensemble.predict(x)))
    True

    Reference: skops, "Secure persistence with skops".
    """
    if not isinstance(filepath, str | os.PathLike):
        raise TypeError(f"`filepath` must be a path. Received: filepath={filepath!r}")
    one_by_one = isinstance(trusted, list | tuple | set | frozenset)
    if trusted is not None and not (
        one_by_one and all(isinstance(item, str | type) for item in trusted)
    ):
        raise TypeError(
            "`trusted` must be a list of types, or of their full names. Received: "
            f"trusted={trusted!r}"
        )
    path = Path(filepath)
    if not path.is_file():
        raise FileNotFoundError(
            f"`filepath` must be a file that exists. Received: {str(path)!r}"
        )
    ensemble: Ensemble = _archive.read(path, list(trusted or ()))
    return ensemble
