"""The training loss of a diffusion model."""

import torch
from torch import Tensor

from lockstep.diffusion.denoiser import Network, Prediction, check_prediction
from lockstep.diffusion.schedule import NoiseSchedule


def diffusion_loss(
    network: Network,
    schedule: NoiseSchedule,
    x0: Tensor,
    noise: Tensor,
    t: Tensor,
    prediction: Prediction,
    min_snr_gamma: float | None = None,
    snr_plus_one: bool = False,
) -> Tensor:
    """Mean squared error of the network's prediction, one number for each image.

    Parameters
    ----------
    x0, noise
        (B, C, H, W).
    t
        (B,) int64 in [0, T).
    min_snr_gamma, snr_plus_one
        With the former each image is weighted by `min_snr_weights`; the latter is handed on.

    Returns
    -------
    (B,)
        In float32, whatever dtype the network answers in.
    """
    check_prediction(prediction, schedule)
    output = network(schedule.add_noise(x0, noise, t), t)
    if prediction == "epsilon":  # Ho et al. 2020, eq. 14
        target = noise
    elif prediction == "v":  # Salimans & Ho 2022, section 4
        target = schedule.velocity(x0, noise, t)
    elif prediction == "flow":  # Lipman et al. 2023 (arXiv 2210.02747), eq. 23
        target = noise - x0
    else:
        target = x0
    loss = (output.float() - target.float()).square().flatten(1).mean(1)
    if min_snr_gamma is None:
        return loss
    weights = min_snr_weights(schedule, prediction, min_snr_gamma, snr_plus_one)
    return weights.float().to(t.device)[t] * loss


def min_snr_weights(
    schedule: NoiseSchedule, prediction: Prediction, gamma: float, plus_one: bool = False
) -> Tensor:
    """(T,) float64: the loss weight of each level, Hang et al. 2023 (arXiv 2303.09556).

    The weight on the error of x0 is min(SNR, gamma). The same error is SNR times
    smaller read as epsilon, SNR + 1 times smaller read as v and (sqrt(SNR) + 1)² times smaller
    read as flow, so theirs is divided by that.

    Parameters
    ----------
    gamma
        Above 0; the paper uses 5.
    plus_one
        Take min(SNR + 1, gamma), with which the noisiest levels count as they do in the error of v
        (Salimans & Ho 2022, arXiv 2202.00512, section 4), and not ever less.

    Raises
    ------
    ValueError
        If gamma is not.
    """
    check_prediction(prediction, schedule)
    if not gamma > 0:
        raise ValueError(f"min_snr_gamma: {gamma} is not positive; use 5, or None for no weighting")
    snr = schedule.snr(torch.arange(schedule.timesteps))
    clamped = (snr + plus_one).clamp(max=gamma)
    smaller = {
        "epsilon": snr,
        "v": snr + 1,
        "x0": torch.ones_like(snr),
        "flow": (snr.sqrt() + 1) ** 2,
    }
    return clamped / smaller[prediction]
