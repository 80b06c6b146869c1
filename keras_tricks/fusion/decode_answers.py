"""Answers to sub-questions as one label, by a table of codewords."""

from typing import Any

import numpy as np
from keras import ops

from keras_tricks.fusion import _blocks, _checks, _held_out, _members, _tensors

# What differs by less than its steps is equal; halves lie on it. Finer steps would part
# sums of a thousand terms.
_GRID = 2.0**30


def decode_answers(answers: Any, code: Any, weights: Any = None) -> Any:
    """Finds the class whose row in a code table fits the answers best.

    When: several models each answer a question about the class: is it round? which of
        these groups is it in?
    Typical: more questions than are needed, so that a wrong answer can be outvoted.
    Costs: one small product per question.
    Beware: two codewords that differ in one question leave all to that one. With d
        differences between any two, (d - 1) // 2 wrong answers do no harm.

    A class scores 1 less the mean distance between the answers and its codeword, where
    a wrong answer has the distance 1 and a doubtful one half the sum of the differences
    of the probabilities. `argmax` takes the nearest codeword, in a tie the first; in
    single precision tensors only answers of 0 and 1 tie for certain. Takes NumPy arrays
    or tensors and gives the same. A tensor with NaN gives NaN, and numbers in tensors
    are not checked.

    Args:
        answers: List with one array per question: probabilities of yes of the shape
            (samples,) or (samples, 1), or of the options, (samples, options), with at
            most the sum 1. Or one array (questions, samples) or (questions, samples,
            options).
        code: Integer table of the shape (classes, questions): 1 for yes and 0 for no,
            or the number of the right option; -1 where the question says nothing
            about the class, whose mean is then over its other questions.
        weights: Sequence of numbers of at least 0, one per question; only their ratios
            count. Defaults to equal weights.

    Returns:
        Array of the shape (samples, classes) of scores in [0, 1].

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If answers, code and weights do not fit together, two codewords are
            equal in all questions that count, one has no question that counts, or an
            array holds a NaN or numbers that are no probabilities.

    Example:
    >>> import keras_tricks as kt
    >>> code = [[0, 0], [0, 1], [1, 0], [1, 1]]
    >>> kt.fusion.decode_answers([[0.75], [0.5]], code).tolist()
    [[0.375, 0.375, 0.625, 0.625]]

    Reference: Dietterich and Bakiri 1995, arXiv cs/9501101; distance as in Allwein et
        al. 2000 for codes with -1.
    """
    parts = _members.split(answers, 0, "answers")
    weights = _held_out.on_host(weights)
    questions = _members.members(
        parts, weights, name="answers", alike=False, one="question"
    )
    table = _checked(code, questions)
    shares = np.where(table >= 0, np.array(questions.weights), 0)
    totals = shares.sum(axis=1, keepdims=True)
    if not totals.all():
        raise ValueError(
            "`code` must have for each class a question that counts, with a weight "
            f"above 0 and not -1. Received: none for class {int(np.argmin(totals))}"
        )
    shares = shares / totals
    if questions.tensors:
        parts = _tensors.full_parts(questions)
        return _tensors.like(_of_tensors(parts, table, shares), questions)
    return _of_arrays(questions.parts, table, shares)


def _checked(code: Any, questions: _members.Members) -> Any:
    table = np.asarray(code)
    if table.dtype.kind not in "biu":
        raise TypeError(
            f"`code` must be a table of integers. Received: code of the type "
            f"{table.dtype}"
        )
    if table.ndim != 2 or table.shape[1] != len(questions.parts) or not len(table):
        raise ValueError(
            "`code` must have the shape (classes, questions), here with "
            f"{len(questions.parts)} questions, and at least one class. Received: "
            f"code of the shape {table.shape}"
        )
    table = table.astype(int)
    for index, part in enumerate(questions.parts):
        if len(part.shape) > 2:
            raise ValueError(
                "`answers` must have the shape (samples,) or (samples, options) per "
                f"question. Received: question {index} of the shape {part.shape}"
            )
        options = max(2, part.shape[1] if len(part.shape) > 1 else 1)
        column = table[:, index]
        if column.min() < -1 or column.max() >= options:
            raise ValueError(
                f"`code` must be from 0 to {options - 1}, or -1, for question {index} "
                f"with {options} options. Received: {column.tolist()}"
            )
    counted = table[:, questions.counted]
    _, first, counts = np.unique(counted, axis=0, return_index=True, return_counts=True)
    if (counts > 1).any():
        twice = counted[first[np.argmax(counts > 1)]]
        classes = np.flatnonzero((counted == twice).all(axis=1)).tolist()
        ignored = " by questions with the weight 0 left out"
        raise ValueError(
            "`code` must have another row for each class, or no answer could tell "
            f"them apart. Received: {twice.tolist()} for the classes {classes}"
            f"{ignored if counted.shape != table.shape else ''}"
        )
    return table


def _of_arrays(parts: list[Any], table: Any, shares: Any) -> Any:
    """Scores by one product per block, as they are linear in the answers."""
    parts = [part[:, None] if part.ndim == 1 else part for part in parts]
    answer = np.empty((len(parts[0]), len(table)), _blocks.float_type(parts))
    widths = [part.shape[1] for part in parts]
    ends = np.cumsum(widths)
    slopes = np.empty((ends[-1], len(table)))
    base = np.zeros(len(table))
    for width, end, codes, share in zip(widths, ends, table.T, shares.T, strict=True):
        if width == 1:
            slopes[end - 1] = np.where(codes == 1, share, -share)
            base += np.where(codes == 1, 0, share)
        else:
            # Half the sum of differences, as 1 is the largest probability.
            wanted = codes == np.arange(width)[:, None]
            slopes[end - width : end] = (wanted - 0.5) * share
            base += share / 2
    slopes *= _GRID
    base *= _GRID
    for rows in _blocks.rows((len(answer), max(answer.shape[1], ends[-1])), share=2):
        given = np.empty((rows.stop - rows.start, ends[-1]))
        for index, (part, end) in enumerate(zip(parts, ends, strict=True)):
            block = part[rows]
            given[:, end - widths[index] : end] = block
            if widths[index] > 1:
                _refuse_sums(block, index, rows.start)
        if _checks.holds_no_probabilities(given):
            _checks.refuse_improbable(parts, "answers", "question")
        scores = given @ slopes
        scores += base
        # A tie goes to the first class, not to the last digit of a sum.
        np.rint(scores, out=scores)
        if len(parts) < ends[-1]:
            # Sums of options may be a little above 1.
            np.clip(scores, 0, _GRID, out=scores)
        np.multiply(scores, 1 / _GRID, out=answer[rows], casting="same_kind")
    return answer


def _refuse_sums(block: Any, index: int, start: int) -> None:
    sums = block.sum(axis=1, dtype="float64")
    if sums.max(initial=0) > _checks.ONE:
        row = int(np.argmax(sums > _checks.ONE))
        raise ValueError(
            "`answers` must be probabilities of options of which one is right, with "
            f"at most the sum 1. Received: the sum {sums[row]:.6g} in question {index},"
            f" row {start + row}"
        )


def _of_tensors(parts: list[Any], table: Any, shares: Any) -> Any:
    whole, unit = _tensors.whole(shares.reshape(-1))
    # Where rounding has changed the sum of a class, exact ties are not to be had.
    if (whole.reshape(shares.shape).sum(axis=1) == unit).all():
        shares = whole.reshape(shares.shape)
    else:
        unit = 1.0
    scores: Any = 0.0
    for part, codes, share in zip(parts, table.T, shares.T, strict=True):
        options = _options(part)
        near = options + (1 - ops.sum(options, axis=1, keepdims=True)) / 2
        # Picked, not by a product of matrices, for which some devices round more.
        picked = ops.take(near, np.maximum(codes, 0).astype("int32"), axis=1)
        scores = scores + picked * ops.convert_to_tensor(share, near.dtype)
    return scores / unit


def _options(part: Any) -> Any:
    """The probability of each option; of yes and no for a question with one column."""
    if len(part.shape) == 1:
        part = part[:, None]
    if part.shape[1] > 1:
        return part
    return ops.concatenate([1 - part, part], axis=1)
