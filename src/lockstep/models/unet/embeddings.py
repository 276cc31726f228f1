"""Timesteps, and the labels of an image, as vectors that condition a U-Net."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MAX_PERIOD = 10000  # of the slowest wave, in timesteps over 2 pi: Vaswani et al. 2017, section 3.5


def timestep_embedding(t: Tensor, dim: int, flip_sin_to_cos: bool, freq_shift: float) -> Tensor:
    """Sinusoidal embedding of timesteps.

    Vaswani et al. 2017 (arXiv:1706.03762), section 3.5, as Ho et al. 2020 (arXiv:2006.11239,
    appendix B) use it: sines of all frequencies, then cosines, instead of in turn:

        w_k = 10000 ** (-k / (dim // 2 - freq_shift)),  k = 0 .. dim // 2 - 1
        (sin(t w_0), sin(t w_1), ..., cos(t w_0), cos(t w_1), ...)

    Parameters
    ----------
    t
        Timesteps, (B,), whole or not; 0 to 1000 or so.
    dim
        Width of the embedding; an odd width gets a 0 at its end.
    flip_sin_to_cos
        Put the cosines first.
    freq_shift
        Below dim // 2. Vaswani's equation has 0; 1 makes the lowest frequency 1/10000.

    Returns
    -------
    (B, dim)
        Always computed in float32, also under autocast: in bfloat16 neighbouring timesteps above
        256 would be one.
    """
    half = dim // 2
    k = torch.arange(half, dtype=torch.float32, device=t.device)
    frequencies = torch.exp(-math.log(MAX_PERIOD) * k / (half - freq_shift))
    angles = t[:, None].float() * frequencies
    waves = (angles.cos(), angles.sin()) if flip_sin_to_cos else (angles.sin(), angles.cos())
    return F.pad(torch.cat(waves, dim=1), (0, dim % 2))


class MLP(nn.Module):
    """Two linear layers with a SiLU between them: (B, in_dim) -> (B, out_dim)."""

    def __init__(self, in_dim: int, out_dim: int) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(in_dim, out_dim)
        self.linear_2 = nn.Linear(out_dim, out_dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear_2(F.silu(self.linear_1(x)))


class LabelEmbedding(MLP):
    """Embeds which labels an image has, any number of them at once: Linear, SiLU, Linear.

    "Unconditional" is the zero vector of labels *before* these layers, not after them: an image of
    which nothing is said, and a label dropped for classifier-free guidance (Ho & Salimans 2022,
    arXiv:2207.12598), are the same input, and its embedding (of the biases alone) is learned.

    Parameters
    ----------
    labels
        How many labels there are, 1 or more.
    width
        Of the embedding, 1 or more; `UNetConfig.embedding_dim` to condition a `UNet`.

    Raises
    ------
    ValueError
        If either number is below 1.
    """

    def __init__(self, labels: int = 24, *, width: int) -> None:
        for name, value in (("labels", labels), ("width", width)):
            if value < 1:
                raise ValueError(f"LabelEmbedding's {name} is {value}: give 1 or more")
        super().__init__(labels, width)
        # A label's column is its embedding, and begins as torch begins embeddings: N(0, 1). From
        # a linear layer's own beginning the labels would drown beside the timestep for long.
        nn.init.normal_(self.linear_1.weight)
        nn.init.normal_(self.linear_2.weight, std=width**-0.5)

    def forward(self, labels: Tensor) -> Tensor:
        """Multi-hot float (B, labels), 1 where an image has a label and 0 elsewhere -> (B, width).

        Raises `ValueError` if the shape does not fit.
        """
        self._check(labels)
        return super().forward(labels)

    def one_by_one(self, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The same labels one by one: their embeddings (B, labels, width), and which there are.

        The latter is (B, labels), booleans. Raises `ValueError` if the shape does not fit.
        """
        self._check(labels)
        return self.linear_1.weight.T.expand(len(labels), -1, -1), labels > 0

    def _check(self, labels: Tensor) -> None:
        count = self.linear_1.in_features
        if labels.ndim != 2 or labels.shape[1] != count:
            raise ValueError(f"labels have shape {tuple(labels.shape)}: give (batch, {count})")
