"""A small text encoder that is trained together with the generator."""

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

        The ids may be of a floating type, as conditions are: they are whole numbers in
        [0, words). The beginning comes first, and its mask is True. The context of padding is 0.

        Raises
        ------
        ValueError
            If the shape does not fit.
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
