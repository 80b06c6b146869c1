"""The warnings and exceptions of the package."""


class NoEffectWarning(UserWarning):
    """A trick was asked for and changed nothing.

    Its own class, so that a project can turn it into an error with
    `warnings.simplefilter("error", keras_tricks.NoEffectWarning)`.
    """
