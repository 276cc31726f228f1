"""Labels of an image as a vector that conditions a U-Net."""

import torch.nn.functional as F
from torch import Tensor, nn


class LabelEmbedding(nn.Module):
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
        super().__init__()
        for name, value in (("labels", labels), ("width", width)):
            if value < 1:
                raise ValueError(f"LabelEmbedding's {name} is {value}: give 1 or more")
        self.linear_1 = nn.Linear(labels, width)
        self.linear_2 = nn.Linear(width, width)
        # A label's column is its embedding, and begins as torch begins embeddings: N(0, 1). From
        # a linear layer's own beginning the labels would drown beside the timestep for long.
        nn.init.normal_(self.linear_1.weight)
        nn.init.normal_(self.linear_2.weight, std=width**-0.5)

    def forward(self, labels: Tensor) -> Tensor:
        """Multi-hot float (B, labels), 1 where an image has a label and 0 elsewhere -> (B, width).

        Raises
        ------
        ValueError
            If the shape does not fit.
        """
        count = self.linear_1.in_features
        if labels.ndim != 2 or labels.shape[1] != count:
            raise ValueError(f"labels have shape {tuple(labels.shape)}: give (batch, {count})")
        return self.linear_2(F.silu(self.linear_1(labels)))
