"""Seeds for a function that draws random numbers."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from keras_tricks import _arguments

# NumPy's global random numbers take no larger one.
LARGEST = 2**32 - 1

# What a seed is derived for, second in `derived`: no two things share one.
WEIGHTS, GENERATORS, MEMBERS, ORDER = range(4)


def drawn(seed: int | None) -> int:
    """The seed, or one that `keras.utils.set_random_seed` decides on.

    Raises:
        TypeError: If it is no integer.
        ValueError: If it is negative or too large.
    """
    if seed is None:
        return int(np.random.randint(2**31 - 1))
    return int(_arguments.integer("seed", seed, 0, LARGEST))


def derived(*numbers: int) -> int:
    """A seed that is another one for any other numbers.

    As many each time: zeros at the end count for nothing.
    """
    return int(np.random.SeedSequence(numbers).generate_state(1)[0]) % 2**31


def seed_states(variables: Iterable[Any]) -> list[Any]:
    """Those of the variables that hold the state of a `keras.random.SeedGenerator`."""
    unique = {id(variable): variable for variable in variables}.values()
    return [v for v in unique if v.name == "seed_generator_state"]


def reseed(variables: Iterable[Any], seed: int) -> None:
    """Gives each seed generator among the variables a seed of its own."""
    for position, state in enumerate(seed_states(variables)):
        state.assign(np.array([derived(seed, GENERATORS, position), 0]))
