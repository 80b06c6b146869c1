"""Plain words for what is wrong with the answers of layers."""

from keras_tricks.callbacks._activation_look import SATURATED_FROM, Seen

_HALF = 0.5
# Of the spread of a layer: far from what any initializer aims at.
_FLAT, _HUGE = 1e-4, 1e3


def findings(path: str, seen: Seen) -> list[str]:
    """What is wrong with one layer, a sentence for each trouble."""
    if not seen.finite:
        return [
            f"{path}: answers are not finite. Lower the learning rate, clip gradients, "
            "and look for NaN in the data."
        ]
    found = []
    if seen.dead is not None and seen.dead >= _HALF and not seen.is_output:
        found.append(
            f"{path}: {seen.dead:.0%} of its units answer 0 to every sample (dead "
            "ReLUs) and learn nothing from them. Lower the learning rate, use He "
            "initialization, or take LeakyReLU."
        )
    if seen.saturated is not None and seen.saturated >= _HALF and not seen.is_output:
        found.append(
            f"{path}: {seen.saturated:.0%} of its pre-activations are beyond "
            f"{SATURATED_FROM:g} (saturated), where hardly any gradient passes. Scale "
            "the inputs, use smaller initial weights, or take ReLU."
        )
    if seen.std <= _FLAT:
        found.append(
            f"{path}: its answers hardly differ (spread {seen.std:.1e}). The signal is "
            "lost on the way: use another initializer or normalisation, or a higher "
            "rate if it has just begun."
        )
    elif seen.std >= _HUGE:
        found.append(
            f"{path}: its answers are huge (spread {seen.std:.1e}). Use normalisation, "
            "smaller initial weights or a lower learning rate."
        )
    return found
