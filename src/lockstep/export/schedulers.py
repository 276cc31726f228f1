"""Noise schedule and sampler as a scheduler of diffusers, and where its own steps are others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import diffusers

from lockstep.config.schema import Sample
from lockstep.core.errors import LockstepError
from lockstep.diffusion import NoiseSchedule, Prediction, timesteps

_PREDICTIONS = {"epsilon": "epsilon", "v": "v_prediction", "x0": "sample"}


def scheduler_of(schedule: NoiseSchedule, prediction: Prediction, settings: Sample) -> Any:
    """The scheduler of `sample.sampler`, with all of the settings that it has a word for.

    Raises `LockstepError` if diffusers has none of that sampler and schedule.
    """
    if schedule.kind == "straight" or prediction == "flow":
        raise LockstepError(
            "diffusion.schedule straight and diffusion.prediction flow: schedulers of diffusers "
            "give a network its images in other units; such a model is sampled here alone"
        )
    common: dict[str, Any] = {
        "num_train_timesteps": schedule.timesteps,
        "beta_start": schedule.beta_start,
        "beta_end": schedule.beta_end,
        "beta_schedule": schedule.kind,
        "prediction_type": _PREDICTIONS[prediction],
        "timestep_spacing": settings.spacing,
    }
    if schedule.zero_terminal_snr:
        if settings.sampler == "heun":
            raise LockstepError(
                "sample.sampler: heun of diffusers knows no diffusion.zero_terminal_snr; export "
                "with euler or another one"
            )
        common["rescale_betas_zero_snr"] = True
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
        case "euler":
            return diffusers.EulerDiscreteScheduler(**common)
        case "heun":
            return diffusers.HeunDiscreteScheduler(**common, **clips)


def differences(scheduler: Any, settings: Sample) -> Iterator[str]:
    """What of `sample` the scheduler does otherwise when a pipeline just steps through it.

    `DDIMScheduler` steps to t - T // steps, whatever level comes next, and DPM-Solver's spacings
    but for `trailing` are others; `DDPMScheduler` adds the noise of `fixed_large` to the last image
    too, unless it is of level 0. Schedulers that keep x in units of Karras et al. begin from noise
    of deviation sigma, for sqrt(sigma² + 1). DPM-Solver has 2^-24 for alphas_bar = 0.
    """
    if settings.sampler in ("euler", "heun"):
        yield settings.sampler
        return
    if settings.sampler == "dpmpp_2m" and scheduler.config.rescale_betas_zero_snr:
        yield "zero terminal SNR with dpmpp_2m"
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
