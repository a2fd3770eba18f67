"""The learning rate: linear warm-up from the minimum, then a cosine back to it (Table 3).

The warm-up starts at the minimum, not at zero, as in the original training (its comment says otherwise, its code
does this). The original ran two steps past the end, where its cosine turned up again; here the last step is the end.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class CosineSchedule:
    """Learning rate as a function of the step alone.

    step < warmup:  minimum + (peak - minimum) * step / warmup
    otherwise:      minimum + (peak - minimum) * (1 + cos(pi * (step - warmup) / (horizon - warmup))) / 2
    """

    peak: float
    minimum: float
    warmup_steps: int
    horizon: int
    """Step at which the minimum is reached; normally the number of steps of the stage."""

    def __call__(self, step: int) -> float:
        span = self.peak - self.minimum
        if step < self.warmup_steps:
            return self.minimum + span * step / self.warmup_steps
        progress = (step - self.warmup_steps) / max(1, self.horizon - self.warmup_steps)
        return self.minimum + span * (1 + math.cos(math.pi * min(progress, 1.0))) / 2
