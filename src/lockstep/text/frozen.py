"""A frozen encoder's contexts as conditions of a generator."""

import torch
from torch import Tensor, nn


class FrozenText(nn.Module):
    """Contexts that were computed beforehand, "unconditional" among them.

    An all-zero condition is the empty prompt, whose context is kept beside the generator's
    weights: drawing without a prompt needs no encoder.

    Args:
        empty: (L, D), the context of the empty prompt; zeros where saved weights are loaded next.

    Raises:
        ValueError: if it has another number of dimensions.
    """

    empty: Tensor

    def __init__(self, empty: Tensor) -> None:
        super().__init__()
        if empty.ndim != 2:
            raise ValueError(f"empty has shape {tuple(empty.shape)}: give (length, width)")
        self.register_buffer("empty", empty.detach().float().clone())

    def forward(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Contexts (B, L, D), all zero where there is none -> (B, L, D) and mask (B, L), all True.

        Raises:
            ValueError: if the shape does not fit.
        """
        if rows.ndim != 3 or rows.shape[1:] != self.empty.shape:
            length, width = self.empty.shape
            raise ValueError(
                f"contexts have shape {tuple(rows.shape)}: give (batch, {length}, {width})"
            )
        said = rows.flatten(1).any(dim=1)
        context = torch.where(said[:, None, None], rows, self.empty.to(rows.dtype))
        return context, torch.ones(rows.shape[:2], dtype=torch.bool, device=rows.device)
