"""Which of a schedule's T noise levels a sampler visits.

The three spacings of Lin et al. 2023 (arXiv 2305.08891), table 2. Their lists are those of
diffusers' DDIMScheduler (steps_offset 0), down to how halves are rounded, with one exception:
for some counts (61 of 1000, 29 of 100) its `trailing` gains a further step at level -1 from an
accident of floating point. Here `steps` are always `steps`.
"""

from typing import Literal, get_args

from lockstep.diffusion._check import one_of

Spacing = Literal["trailing", "leading", "linspace"]


def timesteps(
    T: int, steps: int, spacing: Spacing = "trailing", start: int | None = None
) -> list[int]:
    """Strictly decreasing levels in [0, T), `steps` of them; fewer where `start` cuts.

    Parameters
    ----------
    spacing
        - `trailing` begins at T - 1, pure noise, in strides of T / steps; stops above 0. The
          default: few steps then spend none of them where there is no noise left to remove.
        - `leading` ends at 0, in strides of T // steps; begins below T - 1, at a level that is not
          quite noise, though a sampler is given noise there.
        - `linspace` goes from T - 1 to 0, both included. A single step is then level 0 (as in
          diffusers), which removes next to nothing: use trailing for it.
    start
        Drop the levels above it, 0 <= start < T: to begin from an image that carries that much
        noise already.

    Raises
    ------
    ValueError
        For steps outside [1, T], for start outside [0, T), and where no level is left at or below
        start.
    """
    one_of("spacing", spacing, get_args(Spacing))
    if T < 1:
        raise ValueError(f"T: {T} noise levels are too few; use 1 or more")
    if not 1 <= steps <= T:
        raise ValueError(f"steps: {steps} is out of range; use 1 to {T}, the schedule's levels")
    levels = {"trailing": _trailing, "leading": _leading, "linspace": _linspace}[spacing](T, steps)
    if start is None:
        return levels
    if not 0 <= start < T:
        raise ValueError(f"start: {start} is not a noise level; use 0 to {T - 1}")
    kept = [t for t in levels if t <= start]
    if not kept:
        raise ValueError(
            f"start: no level of {steps} {spacing} steps is at or below {start}; "
            f"use {levels[-1]} or more, or more steps"
        )
    return kept


# Halves round to the even neighbour. Whether a level lands on a half is decided by the last bit,
# so the two functions below do the additions in the order numpy.arange and numpy.linspace do.


def _trailing(T: int, steps: int) -> list[int]:
    stride = (T - T / steps) - T
    return [round(T + i * stride) - 1 for i in range(steps)]


def _leading(T: int, steps: int) -> list[int]:
    return [i * (T // steps) for i in reversed(range(steps))]


def _linspace(T: int, steps: int) -> list[int]:
    if steps == 1:
        return [0]
    stride = (T - 1) / (steps - 1)
    return [round(i * stride) for i in reversed(range(steps))]
