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
    # Halves round to the even neighbour. The last bit decides whether a level lands on a half, so
    # the additions are done in the order of numpy.arange (trailing) and numpy.linspace.
    match spacing:
        case "trailing":
            stride = (T - T / steps) - T
            levels = [round(T + i * stride) - 1 for i in range(steps)]
        case "leading":
            levels = [i * (T // steps) for i in reversed(range(steps))]
        case "linspace":
            stride = (T - 1) / max(1, steps - 1)
            levels = [round(i * stride) for i in reversed(range(steps))]
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
