"""What the weights that training keeps are called, without torch.

`last` are those of the last step, `best` those of the lowest validation loss, and `step_<n>` those
after n steps, which parameters call by the number alone. `ema` is their average with a constant
decay, `ema_<sigma_rel>` one of power-function profile, and `step_<n>_ema_<sigma_rel>` what that was
after n steps.
"""

from __future__ import annotations

import re

WIDEST = 0.28
"""Relative widths of averages are below this: that of the mean of all steps is sqrt(1 / 12)."""

_POWER = re.compile(r"(?:step_(\d+)_)?ema_(0\.\d+)")


def sigma_rel_of(weights: str | int | None) -> float | None:
    """The relative width that `ema_<sigma_rel>` says; None for weights of any other name."""
    found = power_in(weights) if isinstance(weights, str) else None
    return found[1] if found and found[0] is None else None


def power_in(name: str) -> tuple[int | None, float] | None:
    """Step (None: the last) and width of an average of power-function profile; None if it is none.

    `name` is that of its file, without the ending.
    """
    if not (found := _POWER.fullmatch(name)):
        return None
    return int(found[1]) if found[1] else None, float(found[2])


def file_stem(weights: str | int, average: str | None = None) -> str:
    """The name of a file of weights without its ending; `average` is one of `powers_of`, or none.

    `weights` are a name or the step of a snapshot, as parameters say it.
    """
    stem = f"step_{weights}" if isinstance(weights, int) else weights
    return stem if average is None else f"{stem}_{average}"


def averages_of(ema_decay: float | None, ema_sigma_rel: tuple[float, ...]) -> tuple[str, ...]:
    """The names of the averages of the weights; the first is the one that is validated."""
    constant = () if ema_decay is None else ("ema",)
    return (*constant, *powers_of(ema_sigma_rel))


def powers_of(ema_sigma_rel: tuple[float, ...]) -> tuple[str, ...]:
    """The names of those of power-function profile."""
    return tuple(f"ema_{sigma_rel:g}" for sigma_rel in ema_sigma_rel)
