"""Averages of the weights, of any relative width, made afterwards from those that training kept.

Karras et al. 2024 (arXiv 2312.02696), section 3 and appendix C. The average of relative width
sigma_rel after T steps has the power-function profile (g + 1) t^g / T^(g + 1) over the steps t, and
a sum of such profiles that is close to another one is close to its average too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch import Tensor

from lockstep.config.weights import power_in
from lockstep.core.errors import LockstepError
from lockstep.core.weights import check_alike, read_tensors

MOST_MISFIT = 0.1
"""A `combination` that is further off than this is none of the average wanted."""


class Average(NamedTuple):
    """The average of relative width `sigma_rel`, 0 to 0.28, after `step` steps, 1 or more."""

    step: int
    sigma_rel: float


def averages_in(folder: Path, steps: int) -> dict[Average, Path]:
    """The files of a model's folder that are averages of these, of a training of `steps`."""
    found = {}
    for path in sorted(folder.glob("*.safetensors")):
        if power := power_in(path.stem):
            step, width = power
            found[Average(steps if step is None else step, width)] = path
    return found


def average(files: Mapping[Average, Path], wanted: Average) -> dict[str, Tensor]:
    """The weights of the average `wanted`, made from others.

    Raises `LockstepError` on a bad file, or if these do not give it within `MOST_MISFIT`.
    """
    whole: dict[str, Tensor] = {}
    found: dict[str, Tensor] = {}
    for path, factor in zip(files.values(), factors(list(files), wanted), strict=True):
        found = read_tensors(path)
        check_alike(whole or found, found, path)
        for name, tensor in found.items():
            part = tensor.double() * factor
            whole[name] = whole[name] + part if name in whole else part
    return {name: tensor.to(found[name].dtype) for name, tensor in whole.items()}


def exponent_of(sigma_rel: float) -> float:
    """The exponent whose average has a relative width of `sigma_rel`, 0 < sigma_rel < 0.28.

    The width is the standard deviation of the weights' profile over the length of the training:
    sigma_rel = sqrt(g + 1) / ((g + 2) sqrt(g + 3)), solved for g (ibid., appendix C).
    """
    squared = sigma_rel**-2
    return float(np.roots([1, 7, 16 - squared, 12 - squared]).real.max())


def factors(kept: Sequence[Average], wanted: Average) -> list[float]:
    """Those of `combination`. Raises `LockstepError` if its misfit is above `MOST_MISFIT`."""
    found, misfit = combination(kept, wanted)
    if not misfit <= MOST_MISFIT:
        widths = " or ".join(f"{width:g}" for width in sorted({each.sigma_rel for each in kept}))
        raise LockstepError(
            f"ema_{wanted.sigma_rel:g}: what training keeps ({len(kept)} averages) gives it with "
            f"an error of {misfit:.0%}; choose a width nearer to {widths or 'ema'}, or train with "
            "more of train.ema_sigma_rel and train.snapshots"
        )
    return found


def combination(kept: Sequence[Average], wanted: Average) -> tuple[list[float], float]:
    """Factors of the averages `kept` whose sum is nearest to the one `wanted`, and its misfit.

    Parameters
    ----------
    kept
        One or more, all different; those after the step of `wanted` get 0.

    Returns
    -------
    factors
        One for each of `kept`. They sum to 1, so that weights that never change stay as they are.
    misfit
        Of the profile: the root of its summed squares over those of the profile wanted; 0 is exact.
    """
    usable = [each for each in kept if each.step <= wanted.step]
    if not usable:
        return [0.0] * len(kept), 1.0
    between = np.array([[_product(a, b) for b in usable] for a in usable])
    towards = np.array([_product(each, wanted) for each in usable])
    solved = np.linalg.lstsq(between, towards, rcond=None)[0]
    solved /= solved.sum()
    norm = _product(wanted, wanted)
    squared = (solved @ between @ solved - 2 * solved @ towards + norm) / norm
    factors = dict(zip(usable, solved.tolist(), strict=True))
    return [factors.get(each, 0.0) for each in kept], float(np.sqrt(max(squared, 0.0)))


def _product(a: Average, b: Average) -> float:
    """The integral of the product of two profiles over the steps."""
    early, late = sorted((a, b))
    g, h = exponent_of(early.sigma_rel), exponent_of(late.sigma_rel)
    return (g + 1) * (h + 1) / (g + h + 1) * (early.step / late.step) ** h / late.step
