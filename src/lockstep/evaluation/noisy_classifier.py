"""How well a classifier of noisy images tells what they show."""

from __future__ import annotations

import math

import numpy as np
import torch

from lockstep.core import device as hardware
from lockstep.data.dataset import Dataset
from lockstep.evaluation.accuracy import top_k_accuracy
from lockstep.models.noisy_classifier import LabelClassifier, NoisyClassifier, counts
from lockstep.training.batches import x0_of

_AT = (0.25, 0.5, 0.75, 0.9)  # t / T
_IMAGES, _AT_ONCE = 1024, 128


@torch.inference_mode()
def quality(classifier: NoisyClassifier | None, data: Dataset) -> dict[str, float]:
    """On held-out images at some noise levels t / T, by name.

    For labels the micro top-k accuracy, for prompts the perplexity of a word: the exponential of
    its mean negative log-likelihood given the image and the words before, 1 if it is always sure
    and right. At most 1,024 images, always with the same noise. Nothing without a classifier, or
    without any image that has a label or a word that it knows.
    """
    held_out = data.indices("validation")[:_IMAGES]
    if classifier is None or not len(held_out):
        return {}
    device, schedule = hardware.device(), classifier.config.schedule
    random = torch.Generator().manual_seed(0)
    noise = torch.randn(len(held_out), *classifier.config.shape, generator=random)
    values = torch.from_numpy(data.conditions_of(held_out))
    if not classifier.has_known(values).any():
        return {}
    found = {}
    for share in _AT:
        t = torch.tensor(int(share * schedule.timesteps), device=device)
        parts = []
        for places in np.array_split(np.arange(len(held_out)), -(-len(held_out) // _AT_ONCE)):
            x0 = x0_of(data.seen[held_out[places]]).to(device)
            noisy, levels = schedule.add_noise(x0, noise[places].to(device), t), t.expand(len(x0))
            if isinstance(classifier, LabelClassifier):
                parts.append(classifier(noisy, levels))
            else:
                asked = values[places].to(device)
                parts.append(classifier.log_likelihood(noisy, levels, asked))
        outputs = torch.cat(parts).cpu()
        if isinstance(classifier, LabelClassifier):
            found[f"noisy_classifier_accuracy_{share}"] = top_k_accuracy(outputs, values.float())
        else:
            each = -outputs.double().sum().item() / int(counts(values).sum())
            found[f"noisy_classifier_perplexity_{share}"] = math.exp(each)
    return found
