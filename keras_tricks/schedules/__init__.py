"""Learning rates as pure functions of the step."""

__all__: list[str] = []
