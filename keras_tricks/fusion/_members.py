"""The members of a fusion: taken apart, checked, and lined up by class."""

import dataclasses
import numbers
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_tricks.fusion import _classes


@dataclasses.dataclass(frozen=True)
class Members:
    """The members' predictions, never stacked.

    parts: One array or tensor per member.
    weights: Non-negative, with the sum 1; floats, or scalar tensors.
    equal: Whether all weights are the same.
    tensors: Whether the answer is a tensor; otherwise it is a NumPy array.
    columns: For each member, where its columns belong, or None: as they are.
    labels: The class labels of the answer's columns, or None: not given.
    """

    parts: list[Any]
    weights: list[Any]
    equal: bool
    tensors: bool
    columns: list[np.ndarray | None]
    labels: list[Any] | None

    @property
    def counted(self) -> list[int]:
        """The places of the members whose weight is not known to be 0."""
        shares = enumerate(self.weights)
        return [i for i, w in shares if not (isinstance(w, float) and w == 0)]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the answer; of tensors with None where it is not known."""
        shape = tuple(self.parts[0].shape)
        return shape if self.labels is None else (*shape[:-1], len(self.labels))


def is_tensor(value: Any) -> bool:
    """Whether this is of the backend, a Keras variable or a symbol of Keras."""
    kinds = (keras.KerasTensor, keras.Variable)
    return isinstance(value, kinds) or bool(ops.is_tensor(value))


def members(
    predictions: Any,
    weights: Any = None,
    classes: Any = None,
    members_axis: int = 0,
    *,
    name: str = "predictions",
    complete: bool = False,
    labels: bool = False,
    alike: bool = True,
    one: str = "member",
    beside: Sequence[Any] = (),
) -> Members:
    """Takes the members apart and checks all that costs no pass over them.

    With `complete` no member may lack a class. With `labels` the members hold labels,
    also strings, which stay as they are. Without `alike` each may have its own number
    of columns. `one` is what the errors call a member. The parts `beside` are not
    taken, but they too decide whether all become tensors, and of which type.
    """
    parts = split(predictions, members_axis, name)
    tensors = any(is_tensor(part) for part in [*parts, *beside])
    kind = None if labels or not tensors else _float_type([*parts, *beside])
    if tensors:
        parts = [
            _as_tensor(part, index, kind, name) for index, part in enumerate(parts)
        ]
    else:
        kinds = "biufUSO" if labels else "biuf"
        parts = [
            _as_array(part, index, kinds, name) for index, part in enumerate(parts)
        ]
    shares, equal = _shares(weights, len(parts), tensors, one, kind)
    if classes is None:
        columns: list[np.ndarray | None] = [None] * len(parts)
        names = None
    else:
        parts, columns, names = _classes.aligned(parts, classes, complete)
    shapes = [tuple(part.shape) for part in parts]
    if not alike:
        check_shapes([shape[:1] for shape in shapes], name, one)
    elif names is None:
        check_shapes(shapes, name, one)
    else:
        check_shapes([shape[:-1] for shape in shapes], name, one)
    return Members(parts, shares, equal, tensors, columns, names)


def split(predictions: Any, members_axis: int, name: str) -> list[Any]:
    """One entry per member, without copying."""
    if isinstance(predictions, list | tuple):
        if members_axis != 0:
            raise ValueError(
                f"`members_axis` must be 0 for a list, which holds one array per "
                f"member. Received: members_axis={members_axis!r}"
            )
        parts = list(predictions)
    elif is_tensor(predictions):
        if isinstance(predictions, keras.Variable):
            predictions = predictions.value
        parts = _split_tensor(predictions, members_axis, name)
    else:
        stacked = np.asarray(predictions)
        if stacked.ndim < 2:
            raise _no_members(name, stacked.shape)
        parts = list(np.moveaxis(stacked, _axis(members_axis, stacked.ndim), 0))
    if not parts:
        raise ValueError(f"`{name}` must have at least one member. Received: none")
    return parts


def _split_tensor(predictions: Any, members_axis: int, name: str) -> list[Any]:
    shape = tuple(predictions.shape)
    if len(shape) < 2:
        raise _no_members(name, shape)
    axis = _axis(members_axis, len(shape))
    if shape[axis] is None:
        raise ValueError(
            f"`{name}` must have a known number of members on axis {axis}; pass a list "
            f"with one tensor per member. Received: shape {shape}"
        )
    return list(ops.unstack(predictions, shape[axis], axis=axis))


def _axis(members_axis: int, dimensions: int) -> int:
    if isinstance(members_axis, bool) or not isinstance(members_axis, numbers.Integral):
        raise TypeError(
            "`members_axis` must be an integer. Received: "
            f"members_axis={members_axis!r}"
        )
    if not -dimensions <= members_axis < dimensions:
        raise ValueError(
            f"`members_axis` must be an axis of an array with {dimensions} dimensions. "
            f"Received: members_axis={members_axis!r}"
        )
    return int(members_axis) % dimensions


def _no_members(name: str, shape: tuple[int | None, ...]) -> ValueError:
    return ValueError(
        f"`{name}` must have the shape (members, samples, ...), or be a list with one "
        f"array per member. Received: shape {shape}"
    )


def _as_array(part: Any, index: int, kinds: str, name: str) -> np.ndarray:
    array = np.asarray(part)
    if array.dtype.kind not in kinds:
        raise TypeError(
            f"`{name}` must be numbers. Received: member {index} of the type "
            f"{array.dtype}"
        )
    if array.ndim == 0:
        raise _no_members(name, np.shape([part]))
    if array.dtype.kind != "O":
        return array
    # So the columns of a data frame hold strings.
    if not all(isinstance(label, str) for label in array.flat):
        raise TypeError(
            f"`{name}` must be labels of one kind, strings or integers. Received: "
            f"member {index} with objects of several"
        )
    return array.astype(str)


def _float_type(parts: Sequence[Any]) -> str:
    """The one type of all: that of the tensors, to which arrays have to fit."""
    kinds = {
        keras.backend.standardize_dtype(part.dtype) for part in parts if is_tensor(part)
    }
    floats = [kind for kind in kinds if keras.backend.is_float_dtype(kind)]
    if len(floats) == 1:
        return floats[0]
    # (`keras.backend.result_type` makes float64 single on PyTorch.)
    if not floats:
        return str(keras.backend.floatx())
    return "float64" if "float64" in floats else "float32"


def _as_tensor(part: Any, index: int, kind: str | None, name: str) -> Any:
    if not is_tensor(part):
        return ops.convert_to_tensor(_as_array(part, index, "biuf", name), kind)
    if not len(part.shape):
        raise _no_members(name, (1,))
    tensor = part.value if isinstance(part, keras.Variable) else part
    if kind in (None, keras.backend.standardize_dtype(tensor.dtype)):
        return tensor
    return ops.cast(tensor, kind)


def check_shapes(shapes: Sequence[tuple[Any, ...]], name: str, one: str) -> None:
    """Every member must have the shape of the first, as far as both are known."""
    for index, shape in enumerate(shapes):
        if len(shape) != len(shapes[0]) or any(
            None not in (a, b) and a != b for a, b in zip(shape, shapes[0], strict=True)
        ):
            hint = "; give `classes` if their classes differ" if one == "member" else ""
            raise ValueError(
                f"`{name}` must have the same shape for every {one}{hint}. Received: "
                f"{one} 0 of the shape {shapes[0]}, {one} {index} of the shape {shape}"
            )


def _shares(
    weights: Any, count: int, tensors: bool, one: str, kind: str | None
) -> tuple[list[Any], bool]:
    """The weights with the sum 1, and whether they are equal.

    Where they are a tensor, it gets the type `kind`, but at least single precision.
    """
    if weights is None:
        return [1.0 / count] * count, True
    if is_tensor(weights):
        if tensors:
            if tuple(weights.shape) != (count,):
                raise _wrong_weights(
                    count, one, f"a tensor of the shape {tuple(weights.shape)}"
                )
            single = kind in (None, "float16", "bfloat16")
            given = ops.cast(weights, "float32" if single else kind)
            return list(ops.unstack(given / ops.sum(given), count)), False
        weights = ops.convert_to_numpy(weights)
    try:
        values = np.asarray(weights, "float64")
    except (TypeError, ValueError):
        raise _wrong_weights(count, one, repr(weights)) from None
    fine = values.shape == (count,) and np.isfinite(values).all()
    if not (fine and (values >= 0).all() and values.sum() > 0):
        raise _wrong_weights(count, one, repr(weights))
    # The largest first: the sum of huge weights must not overflow.
    values = values / values.max()
    values = values / values.sum()
    return values.tolist(), bool((values == values[0]).all())


def _wrong_weights(count: int, one: str, received: str) -> ValueError:
    return ValueError(
        f"`weights` must be {count} numbers of at least 0, one per {one}, not all 0. "
        f"Received: weights={received}"
    )
