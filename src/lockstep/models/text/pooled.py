"""What a whole prompt says, as one vector."""

import torch.nn.functional as F
from torch import Tensor, nn


class PooledText(nn.Module):
    """The mean of a context as a vector that conditions a U-Net: Linear, SiLU, Linear.

    Added to the time embedding it reaches every resnet of a U-Net, where attention to the context
    reaches a few levels: GLIDE takes its last token for that (Nichol et al. 2021,
    arXiv:2112.10741, section 4.1), SDXL the pooled output of its text encoder (Podell et al. 2023,
    arXiv:2307.01952, section 2.1).

    Parameters
    ----------
    context
        D, the width of the context, 1 or more.
    width
        Of the vector, 1 or more; `CrossAttentionUNetConfig.embedding_dim` to condition a
        `CrossAttentionUNet`.

    Raises
    ------
    ValueError
        If either number is below 1.
    """

    def __init__(self, context: int, *, width: int) -> None:
        super().__init__()
        for name, value in (("context", context), ("width", width)):
            if value < 1:
                raise ValueError(f"PooledText's {name} is {value}: give 1 or more")
        self.linear_1 = nn.Linear(context, width)
        self.linear_2 = nn.Linear(width, width)
        # Like `LabelEmbedding`'s: else the words drown beside the timestep for long.
        nn.init.normal_(self.linear_2.weight, std=width**-0.5)

    def forward(self, context: Tensor, mask: Tensor) -> Tensor:
        """Context (B, L, D) and mask (B, L), True where it counts, once or more -> (B, width).

        Raises
        ------
        ValueError
            If a shape does not fit.
        """
        width = self.linear_1.in_features
        if context.ndim != 3 or context.shape[2] != width or mask.shape != context.shape[:2]:
            raise ValueError(
                f"context has shape {tuple(context.shape)} and mask {tuple(mask.shape)}: give "
                f"(batch, length, {width}) and (batch, length)"
            )
        counts = mask[:, :, None].to(context.dtype)
        mean = (context * counts).sum(1) / counts.sum(1)
        return self.linear_2(F.silu(self.linear_1(mean)))
