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

    def judge(self, value: float) -> str:
        """Takes the next value: "better", "worse", or after too long a wait "stalled".

        During the cool-down nothing stalls.
        """
        if self.cooling:
            self.cooling -= 1
            self.waited = 0
        gain = value - self.best if self.higher else self.best - value
        if gain > self.min_delta or (math.isnan(self.best) and not math.isnan(value)):
            self.best, self.waited = value, 0
            return "better"
        if self.cooling:
            return "worse"
        self.waited += 1
        if self.waited < self.patience:
            return "worse"
        self.rest()
        return "stalled"

    def rest(self) -> None:
        """Starts to wait anew, after the cool-down."""
        self.waited, self.cooling = 0, self.cooldown
