"""When a watched value has stopped getting better: arithmetic only."""

import dataclasses
import math


@dataclasses.dataclass
class Plateau:
    """Counts how long a value has not improved, as Keras's ReduceLROnPlateau does."""

    patience: int
    cooldown: int
    min_delta: float
    higher: bool
    best: float = math.nan
    waited: int = 0
    cooling: int = 0

    def better(self, value: float) -> bool:
        """Whether the value improves on the best, which it then becomes."""
        gain = value - self.best if self.higher else self.best - value
        if not (gain > self.min_delta or (math.isnan(self.best) and value == value)):
            return False
        self.best, self.waited = value, 0
        return True

    def stalled(self) -> bool:
        """Whether one more epoch without improvement is one too many."""
        if self.cooling:
            self.cooling -= 1
            return False
        self.waited += 1
        if self.waited < self.patience:
            return False
        self.rest()
        return True

    def rest(self) -> None:
        """Starts to wait anew, after the cool-down."""
        self.waited, self.cooling = 0, self.cooldown
