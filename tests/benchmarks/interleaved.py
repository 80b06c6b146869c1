"""Times several ways in turn, so that a busy machine is busy for all of them.

The order moves on by one with every round. What is compared are the two times of one
round: the median of these ratios bears a machine that is at times twice as slow.
"""

import statistics
import time


def seconds(ways, rounds):
    """The seconds of each callable, one list per name; a first round is not counted."""
    taken = {name: [] for name in ways}
    names = list(ways)
    for turn in range(rounds + 1):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            start = time.perf_counter()
            ways[name]()
            if turn:
                taken[name].append(time.perf_counter() - start)
    return taken


def ratio(numerators, denominators):
    """Median of the ratios round by round, and their quartiles."""
    ratios = [a / b for a, b in zip(numerators, denominators, strict=True)]
    low, median, high = statistics.quantiles(ratios, n=4)
    return median, low, high


def table(taken, base):
    """One line per name: its milliseconds, and its ratio to `base` with quartiles."""
    for name, values in taken.items():
        median, low, high = ratio(values, taken[base])
        yield (
            f"  {name:32} {1e3 * statistics.median(values):9.2f} ms  "
            f"{median:6.3f} x  ({low:.3f} .. {high:.3f})"
        )
