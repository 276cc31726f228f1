"""Contexts of prompts: from an encoder trained with the generator, or computed beforehand."""

from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lockstep.models.text.tokenizer import PADDING


@dataclass(frozen=True, kw_only=True)
class ScratchConfig:
    """Everything that decides what a `ScratchTextEncoder` computes, save its weights.

    All fields are whole numbers, 1 or more.

    Parameters
    ----------
    words
        How many word ids there are, `Tokenizer.size`.
    length
        L, the most words of a prompt, `Tokenizer.length`.
    width
        D, of the context; a multiple of `heads`.
    layers
        Of the transformer.
    heads
        Of each attention.

    Raises
    ------
    ValueError
        One line with the field, its value and the fix.
    """

    words: int
    length: int
    width: int
    layers: int
    heads: int

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise _error(field.name, value, "give a whole number, 1 or more")
        if self.width % self.heads:
            raise _error("width", self.width, f"give a multiple of heads = {self.heads}")


def _error(field: str, value: object, fix: str) -> ValueError:
    return ValueError(f"ScratchConfig.{field} is {value!r}: {fix}")


class ScratchTextEncoder(nn.Module):
    """Word ids -> what each word means where it stands: a transformer with pre-normalisation.

    Vaswani et al. 2017 (arXiv:1706.03762), encoder; the normalisation before each part as in Xiong
    et al. 2020 (arXiv:2002.04745), figure 1b; learned positions.

    A learned token stands before the words and is always attended. So the empty prompt, a row of
    zeros, is a valid input, and its meaning is learned: it is "unconditional".
    """

    def __init__(self, config: ScratchConfig) -> None:
        super().__init__()
        self.length = config.length
        # torch begins embeddings as N(0, 1), and so does the beginning. Positions begin smaller:
        # where a word stands is less than which word it is (CLIP's are half its words' too).
        self.words = nn.Embedding(config.words, config.width, padding_idx=PADDING)
        self.positions = nn.Parameter(0.5 * torch.randn(config.length, config.width))
        self.beginning = nn.Parameter(torch.randn(config.width))
        self.layers = nn.ModuleList(_Layer(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width)

    def forward(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Word ids (B, L) -> context (B, L + 1, D) and mask (B, L + 1), True where a word is.

        The ids may be of a floating type, as conditions are: they are whole numbers in [0, words).
        The beginning comes first, and its mask is True. The context of padding is 0. Raises
        `ValueError` if the shape does not fit.
        """
        if ids.ndim != 2 or ids.shape[1] != self.length:
            raise ValueError(f"ids have shape {tuple(ids.shape)}: give (batch, {self.length})")
        ids = ids.long()
        beginning = self.beginning.expand(len(ids), 1, -1)
        x = torch.cat((beginning, self.words(ids) + self.positions), dim=1)
        mask = F.pad(ids != PADDING, (1, 0), value=True)
        for layer in self.layers:
            x = layer(x, mask)
        return self.norm(x).masked_fill(~mask[:, :, None], 0), mask


class _Layer(nn.Module):
    """x + attention(norm(x)), then x + feed-forward(norm(x)), four times as wide inside."""

    def __init__(self, config: ScratchConfig) -> None:
        super().__init__()
        width = config.width
        self.heads = config.heads
        self.norm_1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm_2 = nn.LayerNorm(width)
        self.feed_forward = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """x (B, S, D), and mask (B, S), True where x may be attended -> (B, S, D)."""
        x = x + self._attention(self.norm_1(x), mask)
        return x + self.feed_forward(self.norm_2(x))

    def _attention(self, x: Tensor, mask: Tensor) -> Tensor:
        # Plain products: torch's fused kernels are slow on a CPU in bfloat16, and on a GPU their
        # backward with a mask adds up in any order. A prompt is short enough.
        q, k, v = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        scores = (q * q.shape[3] ** -0.5) @ k.transpose(2, 3)
        weights = scores.masked_fill(~mask[:, None, None, :], -torch.inf).softmax(dim=3)
        return self.out((weights @ v).transpose(1, 2).flatten(2))


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

        Raises `ValueError` if the shape does not fit.
        """
        if rows.ndim != 3 or rows.shape[1:] != self.empty.shape:
            length, width = self.empty.shape
            raise ValueError(
                f"contexts have shape {tuple(rows.shape)}: give (batch, {length}, {width})"
            )
        rows = rows.to(self.empty.dtype)
        context = torch.where(given[:, None, None], rows, self.empty)
        return context, torch.ones(rows.shape[:2], dtype=torch.bool, device=rows.device)


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

        Raises `ValueError` if a shape does not fit.
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
