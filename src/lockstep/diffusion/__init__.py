"""Denoising diffusion as pure functions: schedules, denoisers, the loss, samplers, spacings.

Knows torch and nothing of files, devices' choice, experiment tracking or random state: all of
these are the caller's. A sample is

    schedule = NoiseSchedule("squaredcos_cap_v2", 1000)
    denoise = Denoiser(network, schedule, "v")
    noise = ImageNoise(seed=0, indices=range(16), shape=(3, 32, 32))
    images = ddim(denoise, noise(), schedule, timesteps(1000, 50))
"""

from lockstep.diffusion.denoiser import (
    ClassifierGuidance,
    Denoise,
    Denoiser,
    Estimate,
    Guidance,
    LogLikelihood,
    Network,
    Prediction,
    ScheduledDenoise,
)
from lockstep.diffusion.loss import diffusion_loss, min_snr_weights
from lockstep.diffusion.noise import ImageNoise, InterpolatedNoise, slerp
from lockstep.diffusion.samplers import (
    Callback,
    FinalAlphaBar,
    Noise,
    StepInfo,
    Variance,
    ddim,
    ddpm,
    dpmpp_2m,
    euler,
    heun,
)
from lockstep.diffusion.schedule import NoiseSchedule, ScheduleKind
from lockstep.diffusion.spacing import Spacing, timesteps

__all__ = [
    "Callback",
    "ClassifierGuidance",
    "Denoise",
    "Denoiser",
    "Estimate",
    "FinalAlphaBar",
    "Guidance",
    "ImageNoise",
    "InterpolatedNoise",
    "LogLikelihood",
    "Network",
    "Noise",
    "NoiseSchedule",
    "Prediction",
    "ScheduleKind",
    "ScheduledDenoise",
    "Spacing",
    "StepInfo",
    "Variance",
    "ddim",
    "ddpm",
    "diffusion_loss",
    "dpmpp_2m",
    "euler",
    "heun",
    "min_snr_weights",
    "slerp",
    "timesteps",
]
