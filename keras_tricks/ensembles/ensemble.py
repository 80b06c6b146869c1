"""Ensemble: several models that answer as one."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_tricks import _patterns
from keras_tricks.ensembles import (
    _estimators,
    _fusions,
    _labels,
    _members,
    _outputs,
    _storage,
    _together,
)
from keras_tricks.ensembles._held_out import HeldOut
from keras_tricks.ensembles._on_host import OnHost


@keras.saving.register_keras_serializable("keras_tricks")
class Ensemble(HeldOut, OnHost, keras.Model):
    """Several models that answer as one.

    When: the last percent counts, or you have several models anyway: other seeds,
        snapshots of one run, other architectures.
    Typical: 3 to 10 members, "probabilities"; similar models in an ensemble of their
        own, and a "vote" across such families.
    Costs: the sum of its members, in time, memory and file size. A member that is
        compiled brings the state of its optimizer into the file.
    Beware: the members stay your models: to train the ensemble trains them. Weights,
        temperature and threshold must come from data that no member has seen.

    An ensemble is a `keras.Model`: it can be compiled, evaluated, trained (all members
    through their joint answer), saved as one `.keras` file, and be a member itself. A
    loaded ensemble has the same members; they are not compiled. The answer is in
    single precision where the members' are in half; in double where theirs are. Call
    it once before `export`.

    The same model may appear twice: it is asked once. Every member is given the inputs
    as they come; of a dictionary, a Functional member takes those with the names of its
    own inputs.

    With a member from scikit-learn, at any level, an ensemble is asked on the host: it
    predicts, evaluates (see `evaluate` for its `metrics`) and selects, but cannot be
    compiled, called or traced, and saves as a `.zip` archive (see
    `kt.ensembles.load`). Such a member is given all rows at once, images as flat rows;
    `classes` may be left out where it knows 0, 1 and so on, or where all members know
    theirs. Beside a model with one sigmoid it gives the second of its two columns.

    Args:
        models: List of built `keras.Model`s with one output each, which take the same
            inputs. Also fitted scikit-learn classifiers with `predict_proba`, and
            regressors.
        fusion: String, callable or table. "probabilities" (their mean), "geometric",
            "vote", "mean" or "median" (of numbers of any kind); a function of
            `kt.fusion`, or of your own with the arguments `(predictions, weights)`,
            registered with Keras; or a code table of integers, one row per class and
            one column per member, each of which then answers one question (see
            `kt.fusion.decode_answers`). Defaults to "probabilities".
        weights: List of numbers of at least 0, one per member; only their ratio counts.
            Defaults to None: equal. See `member_weights`.
        classes: List of labels in the order of the columns, for `decide` and the labels
            in `y`; or one such list per member where they differ: the ensemble's
            columns are then the sorted union. Defaults to None: column numbers.
        outputs: String, or a list with one per member: "probabilities"; "logits", which
            get a sigmoid (one column) or a softmax (several); "multilabel" or
            "multilabel logits", whose columns are questions of their own, with a
            sigmoid each; "values", which stay as they are; or "auto": found from the
            last activation, or else from the compiled loss. Without an activation, and
            without a loss that says otherwise, they count as logits where `fusion`
            asks for probabilities, as values in a "mean" or "median". Several sigmoids
            that can be seen stay "multilabel" under the name "probabilities", but for
            a "vote" or "geometric". Defaults to "auto".
        name: String, or None for an automatic name.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If a member is not built, has several outputs or another shape than
            the others, or if its outputs cannot be told; if `fusion` is unknown or
            needs all samples at once; if `weights`, `classes` or `outputs` are not one
            per member, or `classes` not one per column; or if columns are questions of
            their own for some members only.

    Example:
    >>> import keras, numpy as np
    >>> import keras_tricks as kt
    >>> def build(seed):
    ...     start = keras.initializers.GlorotUniform(seed)
    ...     layer = keras.layers.Dense(2, "softmax", kernel_initializer=start)
    ...     return keras.Sequential([keras.Input((4,)), layer])
    >>> family = kt.ensembles.Ensemble([build(0), build(1)], "probabilities")
    >>> two_level = kt.ensembles.Ensemble([family, build(2), build(3)], fusion="vote")
    >>> two_level.predict(np.ones((5, 4)), verbose=0).shape
    (5, 2)

    Reference: Lakshminarayanan et al. 2017, arXiv 1612.01474 (other seeds); Huang et
    al. 2017, arXiv 1704.00109 (snapshots); Dietterich and Bakiri 1995, arXiv
    cs/9501101 (code tables).
    """

    def __init__(
        self,
        models: Sequence[Any],
        fusion: str | Callable[..., Any] | Sequence[Sequence[int]] = "probabilities",
        weights: Sequence[float] | None = None,
        classes: Sequence[Any] | None = None,
        *,
        outputs: str | Sequence[str] = "auto",
        name: str | None = None,
    ) -> None:
        checked = _members.check(models)
        shares = _members.check_weights(weights, len(checked))
        # Each member casts the inputs to its own precision.
        super().__init__(name=name, dtype="float32", autocast=False)
        self.models = checked
        self.fusion = fusion
        self.classes = classes
        # Keras has properties of the names `weights` and `outputs`.
        self._given = (weights, _outputs.as_given(outputs))
        self._fuse = _fusions.Fusion(fusion, len(checked))
        self._together = _together.Together(checked)
        self._stay_on_host()
        self._columns, self.labels = _labels.of_columns(classes, len(checked))
        if self._estimator is not None:
            self._columns, self.labels = _estimators.of_columns(
                checked, self._columns, self.labels, self._fuse.code is not None
            )
        self._kinds = tuple(_outputs.kinds(checked, outputs, self._fuse))
        own = self._columns is not None or self._fuse.code is not None
        _members.check_shapes(checked, kinds_of_columns=own)
        widths = list(map(_outputs.columns, checked))
        _labels.check_columns(self._columns, self.labels, widths, self._fuse.code)
        # The distance to a codeword is not a plain mean: its weights are constants.
        coded = self._fuse.code is not None
        self._shares = shares if coded else self._number("member_weights", shares)
        self._temperature = self._number("temperature", np.ones(()))
        self.threshold: float | list[float] | None = None
        self.built = True

    def _number(self, name: str, value: np.ndarray) -> Any:
        # A variable, so that functions that are compiled already see it change.
        variable = self.add_weight(
            shape=value.shape, initializer="ones", trainable=False, name=name
        )
        variable.assign(value)
        return variable

    @property
    def _answer_kind(self) -> str:
        if self._fuse.code is not None:
            return "probabilities"
        return _outputs.of_all(self._kinds)

    @property
    def member_weights(self) -> np.ndarray:
        """The weights in use, with the sum 1."""
        shares = np.array(ops.convert_to_numpy(self._shares), "float64")
        return shares / shares.sum()

    @property
    def temperature(self) -> float:
        """What the logits of the answer are divided by; 1 if not calibrated."""
        return float(ops.convert_to_numpy(self._temperature.value))

    def call(self, inputs: Any, training: Any = None) -> Any:
        asked = {} if training else self._together.answers(inputs)
        answers, widths = [], []
        for index, member in enumerate(self.models):
            if id(member) not in asked:
                asked[id(member)] = member(_members.inputs_of(member, inputs))
            answer, kind = asked[id(member)], self._kinds[index]
            answers.append(_outputs.finished(answer, kind))
            widths.append(1 if len(answer.shape) < 2 else answer.shape[-1])
            if self._fuse.per_row:
                _outputs.check_one_class(kind, widths[-1], index)
        if self._fuse.code is None:
            _outputs.check_mixture(self._kinds, widths)
        # A function of the user's may not know what to do with a variable.
        shares = getattr(self._shares, "value", self._shares)
        return self._tempered(self._fuse(answers, shares, self._columns))

    def _tempered(self, answer: Any) -> Any:
        if self._answer_kind == "values":
            return answer
        temperature = self._temperature.value
        return _outputs.tempered(answer, temperature, self._answer_kind)

    def make_train_function(self, force: bool = False) -> Any:
        voting = self._voting()
        if voting is not None:
            raise ValueError(
                "`fusion` must have a gradient for `fit`: a vote has none. Received: "
                f"ensemble {voting.name!r} with fusion='vote'; fit the members one by "
                "one, or fuse by 'probabilities'"
            )
        return super().make_train_function(force)

    def _voting(self) -> "Ensemble | None":
        below = (layer for _, layer in _patterns.layer_paths(self))
        for layer in (self, *below):
            if isinstance(layer, Ensemble) and layer._fuse.name == "vote":
                return layer
        return None

    def _settings(self, places: Mapping[int, int]) -> dict[str, Any]:
        """The arguments, with places in a table for the members, and the threshold."""
        weights, outputs = self._given
        return {
            "name": self.name,
            "trainable": self.trainable,
            "models": [places[id(member)] for member in self.models],
            "fusion": self._fuse.config,
            "weights": None if weights is None else np.asarray(weights).tolist(),
            "classes": _labels.plain(self.classes),
            "outputs": _labels.plain(outputs),
            "kinds": list(self._kinds),
            "threshold": _labels.plain(self.threshold),
        }

    @classmethod
    def _revived(cls, settings: Mapping[str, Any], nodes: Sequence[Any]) -> "Ensemble":
        fusion = settings["fusion"]
        if isinstance(fusion, dict):
            fusion = keras.saving.deserialize_keras_object(fusion)
        outputs: Any = _outputs.Resolved(settings["outputs"], settings["kinds"])
        ensemble = cls(
            [nodes[place] for place in settings["models"]],
            fusion,
            settings["weights"],
            settings["classes"],
            outputs=outputs,
            name=settings["name"],
        )
        # An archive has no file of weights to keep it in.
        ensemble.threshold = settings.get("threshold")
        if not settings["trainable"]:
            ensemble.trainable = False
        return ensemble

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments, each member named once.

        What was fitted is with the weights: in their files, not in here.
        """
        if self._estimator is not None:
            self._refuse("get_config", "save it as a '.zip' archive")
        return _storage.packed(self, Ensemble)

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: Any = None
    ) -> "Ensemble":
        """Makes the ensemble that `get_config` describes, and its members."""
        with keras.saving.custom_object_scope(custom_objects or {}):
            return _storage.unpacked(config, Ensemble, cls)
