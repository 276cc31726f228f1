"""The best linear autoencoder of patches: where the training of the other one begins.

Its squared error is the least of all linear ones: principal components (Baldi & Hornik 1989). On
ray-cast scenes, 4 numbers for 4 x 4 pixels, it reaches 28 dB at once; convolutions that begin at
random take hundreds of steps to tell four colours apart.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from lockstep.models.autoencoder.kl import KLAutoencoder

# Deviation of a component, of pixels in [-1, 1], below which it is rounding and not scaled up.
_LEAST_DEVIATION = 0.01


@torch.no_grad()
def begin_linear(model: KLAutoencoder, images: Tensor) -> None:
    """Make `model` the linear autoencoder of the patches of `images` (N, 3, H, W) in [-1, 1].

    Means of posteriors become the components, scaled to variance 1, and the layers beside the
    shortcuts add nothing as yet.
    """
    patches = F.pixel_unshuffle(images, model.reduction).transpose(0, 1).flatten(1).double()
    mean = patches.mean(1)
    variances, vectors = torch.linalg.eigh(torch.cov(patches))
    count = min(model.channels, len(mean))
    components = vectors[:, -count:]
    # Either sign would do: the largest entry is positive, on every machine.
    largest = components.gather(0, components.abs().argmax(0, keepdim=True))
    components = components * largest.sign()
    deviations = variances[-count:].clamp_min(_LEAST_DEVIATION**2).sqrt()

    encode, decode = model.encoder.shortcut, model.decoder.shortcut
    assert encode.bias is not None and decode.bias is not None
    for parameter in (*encode.parameters(), *decode.parameters()):
        parameter.zero_()
    encode.weight[:count, :, 0, 0] = (components / deviations).T.float()
    encode.bias[:count] = (-(mean @ components) / deviations).float()
    decode.weight[:, :count, 0, 0] = (components * deviations).float()
    decode.bias.copy_(mean)
