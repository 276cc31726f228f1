"""Noise schedule and sampler as a scheduler of diffusers, and where its own steps are others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import diffusers

from lockstep.config.schema import Sample
from lockstep.diffusion import NoiseSchedule, Prediction, timesteps

_PREDICTIONS = {"epsilon": "epsilon", "v": "v_prediction", "x0": "sample"}


def scheduler_of(schedule: NoiseSchedule, prediction: Prediction, settings: Sample) -> Any:
    """The scheduler of `sample.sampler`, with all of the settings that it has a word for."""
    common: dict[str, Any] = {
        "num_train_timesteps": schedule.timesteps,
        "beta_start": schedule.beta_start,
        "beta_end": schedule.beta_end,
        "beta_schedule": schedule.kind,
        "prediction_type": _PREDICTIONS[prediction],
        "timestep_spacing": settings.spacing,
    }
    clips = {"clip_sample": settings.clip is not None, "clip_sample_range": settings.clip or 1.0}
    build: Any
    match settings.sampler:
        case "ddpm":
            build = diffusers.DDPMScheduler
            return build(**common, **clips, variance_type=settings.variance)
        case "ddim":
            build = diffusers.DDIMScheduler
            return build(**common, **clips, set_alpha_to_one=True)
        case "dpmpp_2m":
            build = diffusers.DPMSolverMultistepScheduler
            # A threshold of at most 1 is a clip at 1, and the only clip that it has.
            return build(**common, thresholding=settings.clip == 1, sample_max_value=1.0)


def differences(scheduler: Any, settings: Sample) -> Iterator[str]:
    """What of `sample` the scheduler does otherwise when a pipeline just steps through it.

    `DDIMScheduler` steps to t - T // steps, whatever level comes next, and DPM-Solver's spacings
    but for `trailing` are others; `DDPMScheduler` adds the noise of `fixed_large` to the last image
    too, unless it is of level 0.
    """
    T = scheduler.config.num_train_timesteps
    levels = timesteps(T, settings.steps, settings.spacing)
    scheduler.set_timesteps(settings.steps)
    same = scheduler.timesteps.tolist() == levels
    if settings.sampler == "ddim":
        stride = T // settings.steps
        following = [t - stride for t in levels]
        same = same and following[:-1] == levels[1:] and following[-1] < 0
    if not same:
        yield f"{settings.steps} steps of {T}, {settings.spacing}, of {settings.sampler}"
    if settings.sampler == "ddpm" and settings.variance == "fixed_large" and levels[-1] > 0:
        yield "variance fixed_large without noise on the last image"
    if settings.sampler == "dpmpp_2m" and settings.clip not in (None, 1):
        yield f"clip {settings.clip:g} with dpmpp_2m"
