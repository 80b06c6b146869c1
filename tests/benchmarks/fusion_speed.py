"""How fast are the members of an ensemble fused, and with how much memory?

    KERAS_BACKEND=torch python tests/benchmarks/fusion_speed.py

5 members x 1,000,000 samples x 10 classes, float32, as a list. Each function is timed
in turn with the cheapest NumPy pass that gives the same answer: whole arrays added into
one output for means, one search for the highest per row for votes, one sort per column
for ranks, least and greatest of pairs for medians, one product for codes. The
temperature is of one member. That pass checks nothing; ours looks for NaN, and decodes
in double precision, so that ties are exact. The bar of each:

    at most 1.5 x the time of the NumPy pass
    at most one answer of memory beside the answer itself, by tracemalloc
"""

import argparse
import tracemalloc

import interleaved
import numpy as np

import keras_tricks as kt
from keras_tricks import fusion

WEIGHTS = [0.1, 0.3, 0.2, 0.25, 0.15]
# No few of them are half of all.
UNEVEN = [0.12, 0.28, 0.21, 0.25, 0.14]
# One yes-or-no question per member; the classes are the numbers from 0 to 9.
CODE = np.arange(10)[:, None] >> np.arange(5) & 1
BAR = 1.5


def mean(members):
    answer = members[0] + members[1]
    for member in members[2:]:
        answer += member
    answer *= 1 / len(members)
    return answer


def weighted_mean(members):
    answer = members[0] * WEIGHTS[0]
    term = np.empty_like(answer)
    for member, weight in zip(members[1:], WEIGHTS[1:], strict=True):
        np.multiply(member, weight, out=term)
        answer += term
    return answer


def geometric(members):
    answer = np.log(members[0])
    term = np.empty_like(answer)
    for member in members[1:]:
        answer += np.log(member, out=term)
    answer *= 1 / len(members)
    np.exp(answer, out=answer)
    # A product sums short rows faster than `sum` does.
    answer /= (answer @ np.ones(answer.shape[1], answer.dtype))[:, None]
    return answer


def vote(members):
    answer = np.zeros_like(members[0])
    votes, first = answer.reshape(-1), np.arange(0, answer.size, answer.shape[1])
    for member in members:
        votes[first + member.argmax(axis=1)] += 1
    answer /= len(members)
    return answer


def ranks(members):
    answer = np.zeros_like(members[0])
    count = len(answer)
    for member in members:
        for column in range(answer.shape[1]):
            order = np.argsort(member[:, column])
            ordered = member[order, column]
            starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
            places = np.arange(1, count + 1, dtype="float32")
            if len(starts) < count:
                ends = np.r_[starts[1:], count]
                average = ((starts + ends + 1) / 2).astype("float32")
                places = np.repeat(average, ends - starts)
            placed = np.empty_like(places)
            placed[order] = places
            answer[:, column] += placed
    answer /= len(members) * count
    return answer


def median(members):
    a, b, c, d, e = members
    a, b = np.minimum(a, b), np.maximum(a, b)
    c, d = np.minimum(c, d), np.maximum(c, d)
    # The least and the greatest of four are not in the middle of five.
    low, high = np.maximum(a, c), np.minimum(b, d)
    low, high = np.minimum(low, high), np.maximum(low, high)
    return np.maximum(low, np.minimum(high, e))


def weighted_median(members):
    stacked = np.stack(members)
    order = stacked.argsort(axis=0)
    reached = np.array(UNEVEN, "float32")[order].cumsum(axis=0, dtype="float32")
    place = np.take_along_axis(order, (reached < 0.5).sum(axis=0)[None], axis=0)
    return np.take_along_axis(stacked, place, axis=0)[0]


def mean_and_variance(members):
    middle, variance = mean(members), mean(members)
    for member in members:
        apart = member - middle
        apart *= apart
        apart *= 1 / len(members)
        variance += apart
    return middle, variance


def decode(members):
    answers = np.stack([member[:, 0] for member in members], axis=1)
    scores = answers @ ((2 * CODE.T - 1) / len(members)).astype("float32")
    scores += ((1 - CODE).sum(axis=1) / len(members)).astype("float32")
    return scores


def temperature(members):
    answer = np.log(members[0])
    answer *= 0.5
    answer -= answer.max(axis=1, keepdims=True)
    np.exp(answer, out=answer)
    answer /= (answer @ np.ones(answer.shape[1], answer.dtype))[:, None]
    return answer


PAIRS = {
    "mean_probability": (fusion.mean_probability, mean),
    "mean_probability, weights": (
        lambda members: fusion.mean_probability(members, WEIGHTS),
        weighted_mean,
    ),
    "geometric_mean": (fusion.geometric_mean, geometric),
    "majority_vote": (fusion.majority_vote, vote),
    "rank_average": (fusion.rank_average, ranks),
    "median": (fusion.median, median),
    "median, weights": (
        lambda members: fusion.median(members, UNEVEN),
        weighted_median,
    ),
    "mean_and_variance": (
        lambda members: fusion.mean_and_variance(members, members),
        mean_and_variance,
    ),
    "decode_answers": (
        lambda members: fusion.decode_answers([part[:, 0] for part in members], CODE),
        decode,
    ),
    "apply_temperature": (
        lambda members: fusion.apply_temperature(members[0], 2.0),
        temperature,
    ),
}


def peak(function, members):
    """Bytes at the peak beside the answer, as a share of the answer's."""
    tracemalloc.start()
    answer = function(members)
    highest = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    answers = answer if isinstance(answer, tuple) else (answer,)
    size = sum(part.nbytes for part in answers)
    return (highest - size) / size


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=10**6)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--only", default="", help="a part of the names")
    arguments = parser.parse_args()
    random = np.random.default_rng(0)
    members = []
    for _ in WEIGHTS:
        # Above 0, so that the logarithms of the bare pass do not warn.
        scores = 1 - random.random((arguments.samples, arguments.classes), "float32")
        members.append(scores / scores.sum(axis=1, keepdims=True))
    print(f"keras_tricks {kt.__version__}, NumPy {np.__version__}")
    head = f"{'ms':>9} {'NumPy':>9} {'ratio':>7} {'quartiles':>15} {'bar':>5}"
    print(f"{'':26}{head} {'memory':>8} {'bar':>5}")
    failed = []
    for name, (ours, theirs) in PAIRS.items():
        if arguments.only not in name:
            continue
        np.testing.assert_allclose(ours(members), theirs(members), 1e-5, 1e-6)
        ways = {"ours": lambda f=ours: f(members), "NumPy": lambda f=theirs: f(members)}
        taken = interleaved.seconds(ways, arguments.rounds)
        median, low, high = interleaved.ratio(taken["ours"], taken["NumPy"])
        times = [1e3 * sorted(values)[len(values) // 2] for values in taken.values()]
        extra = peak(ours, members)
        print(
            f"{name:26}{times[0]:9.1f} {times[1]:9.1f} {median:7.2f} "
            f"{f'{low:.2f} .. {high:.2f}':>15} {BAR:5.1f} {extra:7.2f}x {1.0:5.1f}"
        )
        if median > BAR or extra > 1:
            failed.append(name)
    print(f"above the bar: {', '.join(failed) or 'none'}")


if __name__ == "__main__":
    main()
