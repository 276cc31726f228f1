"""A frozen encoder's contexts as conditions of a generator."""

import torch
from torch import Tensor, nn


class FrozenText(nn.Module):
    """Contexts that were computed beforehand, "unconditional" among them.

    Where no prompt is given it is the empty one, whose context is kept beside the generator's
    weights: sampling without a prompt needs no encoder.

    Parameters
    ----------
    empty
        (L, D), the context of the empty prompt; zeros where saved weights are loaded next.

    Raises
    ------
    ValueError
        If it has another number of dimensions.
    """

    empty: Tensor

    def __init__(self, empty: Tensor) -> None:
        super().__init__()
        if empty.ndim != 2:
            raise ValueError(f"empty has shape {tuple(empty.shape)}: give (length, width)")
        self.register_buffer("empty", empty.detach().float().clone())

    def forward(self, rows: Tensor, given: Tensor) -> tuple[Tensor, Tensor]:
        """Contexts (B, L, D), and which are given (B,) -> (B, L, D) and mask (B, L), all True.

        Raises
        ------
        ValueError
            If the shape does not fit.
        """
        if rows.ndim != 3 or rows.shape[1:] != self.empty.shape:
            length, width = self.empty.shape
            raise ValueError(
                f"contexts have shape {tuple(rows.shape)}: give (batch, {length}, {width})"
            )
        rows = rows.to(self.empty.dtype)
        context = torch.where(given[:, None, None], rows, self.empty)
        return context, torch.ones(rows.shape[:2], dtype=torch.bool, device=rows.device)
