"""The learning rate as a function of the step."""

import math
from typing import Literal

Decay = Literal["constant", "linear", "cosine"]


def factor(step: int, *, steps: int, warmup: int, decay: Decay) -> float:
    """What the peak rate is multiplied with at `step` (0 .. steps-1), in (0, 1].

    Linear warm-up over the first `warmup` steps, then constant, or down to zero after the last
    step along a line or half a cosine (Loshchilov & Hutter 2017, eq. 5, without restarts).
    """
    if step < warmup:
        return (step + 1) / warmup
    progress = (step - warmup) / max(1, steps - warmup)
    if decay == "cosine":
        return 0.5 * (1 + math.cos(math.pi * progress))
    if decay == "linear":
        return 1 - progress
    return 1.0
