"""The error of a training step, explained."""

from pathlib import Path
from typing import Any

from keras_tricks.debug import _batch_file
from keras_tricks.debug._finding import Finding


class StepError(RuntimeError):
    """A step of a training failed, or its loss was not finite: where, and what to do.

    When: raised by `keras_tricks.debug.rerun_on_cpu`, returned by `explain_failure`.
    Typical: read it; it names the layer, the sample, the value and a remedy.
    Costs: it holds the batch in host memory.
    Beware: a remedy is advice by the kind of failure, not a proof.

    The error that the backend raised, if it raised one, is its `__cause__`.

    `problem`, `remedy`, `layer`, `sample` and `value` are the parts of the text (None
    where they are not known), `batch` is the batch as NumPy arrays, `step` the number
    of the step in its `fit`, from 1 (None if not known), and `age` says of how many
    steps before the failing one the weights are that the model has now.

    Args:
        finding: What was found, in parts.
        batch: Tuple `(x, y, sample_weight)` of NumPy arrays.
        step: Integer or None.
        age: Integer or None.
        path: Path that the batch was written to, or None.
        training: Boolean, whether it was a step of a training.

    Raises:
        ValueError: By `save`, if the batch cannot be written.

    Example:
    >>> import keras, numpy as np, keras_tricks as kt
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> x = np.array([[0.0, 1.0], [np.nan, 1.0]])
    >>> error = kt.debug.explain_failure(model, (x, np.zeros(2)))
    >>> error.sample, str(error.value)
    (1, 'nan')

    Reference: none; it gathers what one looks for by hand.
    """

    def __init__(
        self,
        finding: Finding,
        batch: Any,
        step: int | None = None,
        age: int | None = None,
        path: Path | None = None,
        training: bool = True,
    ) -> None:
        self.problem, self.remedy, self.layer, self.sample, self.value = finding
        self.batch, self.step, self.age, self.path = batch, step, age, path
        which = "A step" if step is None else f"Step {step} of the training"
        if not training:
            which = "A step of the validation"
        lines = [f"{which} failed: {self.problem}.", f"What to do: {self.remedy}."]
        if age == 0:
            lines.append("The model has the weights from before that step.")
        elif age:
            lines.append(f"The model has the weights of {age} steps before that step.")
        if path is not None:
            lines.append(
                f"The batch is in {str(path)!r}; repeat the step by "
                f"keras_tricks.debug.explain_failure(model, {str(path)!r})."
            )
        super().__init__("\n".join(lines))

    def save(self, path: str | Path) -> None:
        """Writes the batch to an `.npz` file, for `explain_failure(model, path)`.

        Args:
            path: Path of the file.
        """
        _batch_file.write(Path(path), self.batch)
