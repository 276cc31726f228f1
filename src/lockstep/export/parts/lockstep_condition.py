"""What an image is to show, as a U-Net of diffusers takes it: labels, or words trained along.

Loaded by the pipeline of this folder. It needs torch and diffusers alone.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

_PADDING, _UNKNOWN, _FIRST = 0, 1, 2

# Chinese characters and Japanese kana: written without spaces between words.
_UNSPACED = re.compile(
    "[\u3005-\u3007\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)


class Condition(ModelMixin, ConfigMixin):
    """Prompts -> values (`read`), and values -> what the network takes (`forward`).

    Parameters
    ----------
    kind
        `labels`: a prompt has any number of names, with commas between; `classes`: one name;
        `prompts`: a sentence.
    width
        Of the vector that is added to the time embedding.
    names
        Of labels or classes, in the order of their columns.
    words
        Of an encoder trained along: all that it knows, by their numbers from 2 on.
    length, context, layers, heads
        Of that encoder: the most words of a prompt, the width of the context, and its transformer.
        Of a frozen encoder: `length` and `context` of what it gives.
    pooled_text
        Whether the mean of the context is added to the time embedding, too.
    """

    @register_to_config
    def __init__(
        self,
        kind: str,
        width: int,
        names: list[str] | None = None,
        words: list[str] | None = None,
        length: int = 0,
        context: int = 0,
        layers: int = 0,
        heads: int = 1,
        pooled_text: bool = False,
    ) -> None:
        super().__init__()
        if names is not None:
            self.embedding: nn.Module = _MLP(len(names), width)
        elif words is not None:
            count = _FIRST + len(words)
            self.embedding = _TextEncoder(count, length, context, layers, heads)
        else:
            self.embedding = _Frozen(length, context)
        self.pooled = _MLP(context, width) if pooled_text else None

    def read(self, prompts: list[str | None]) -> Tensor:
        """N prompts -> labels (N, L), multi-hot, or word ids (N, L).

        Raises `ValueError` on an unknown name, or where one is wanted and there is none.
        """
        if self.config.names is None:
            return torch.tensor([self._ids(prompt or "") for prompt in prompts])
        columns = {name: number for number, name in enumerate(self.config.names)}
        values = torch.zeros(len(prompts), len(columns))
        for row, prompt in zip(values, prompts, strict=True):
            if prompt is None:
                raise ValueError(f"prompt: missing; choose from {', '.join(columns)}")
            given = prompt.split(",") if self.config.kind == "labels" else [prompt]
            for name in filter(None, map(str.strip, given)):
                if name not in columns:
                    raise ValueError(f"prompt: unknown {name!r}; choose from {', '.join(columns)}")
                row[columns[name]] = 1
        return values

    def forward(self, values: Tensor, given: Tensor) -> dict[str, Any]:
        """Values of N images, and (N,) where anything is said -> arguments of the network.

        And `placed`, which is none of them: a context and its mask for the pipeline's `placement`.
        """
        if isinstance(self.embedding, _MLP):
            labels = (values * given[:, None]).to(self.dtype)
            each = self.embedding.linear_1.weight.T.expand(len(labels), -1, -1)
            return {"class_labels": self.embedding(labels), "placed": (each, labels > 0)}
        context, mask = self.embedding(values, given)
        inputs: dict[str, Any] = {"encoder_hidden_states": context, "encoder_attention_mask": mask}
        inputs["placed"] = context, mask
        if self.pooled is not None:
            counts = mask[:, :, None].to(context.dtype)
            inputs["class_labels"] = self.pooled((context * counts).sum(1) / counts.sum(1))
        return inputs

    def _ids(self, prompt: str) -> list[int]:
        number = {word: i for i, word in enumerate(self.config.words, _FIRST)}
        ids = [number.get(word, _UNKNOWN) for word in _split(prompt)][: self.config.length]
        return ids + [_PADDING] * (self.config.length - len(ids))


class _MLP(nn.Module):
    """Linear, SiLU, Linear."""

    def __init__(self, in_dim: int, out_dim: int) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(in_dim, out_dim)
        self.linear_2 = nn.Linear(out_dim, out_dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear_2(F.silu(self.linear_1(x)))


class _TextEncoder(nn.Module):
    """A transformer with pre-normalisation; a learned token stands before the words."""

    def __init__(self, words: int, length: int, width: int, layers: int, heads: int) -> None:
        super().__init__()
        self.words = nn.Embedding(words, width, padding_idx=_PADDING)
        self.positions = nn.Parameter(torch.zeros(length, width))
        self.beginning = nn.Parameter(torch.zeros(width))
        self.layers = nn.ModuleList(_Layer(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, ids: Tensor, given: Tensor) -> tuple[Tensor, Tensor]:
        ids = ids * given[:, None]  # nothing said is no word
        words = self.words(ids) + self.positions
        x = torch.cat((self.beginning.expand(len(ids), 1, -1), words), dim=1)
        mask = F.pad(ids != _PADDING, (1, 0), value=True)
        for layer in self.layers:
            x = layer(x, mask)
        return self.norm(x).masked_fill(~mask[:, :, None], 0), mask


class _Layer(nn.Module):
    """x + attention(norm(x)), then x + feed-forward(norm(x))."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm_2 = nn.LayerNorm(width)
        self.feed_forward = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        q, k, v = self.qkv(self.norm_1(x)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None, :])
        x = x + self.out(mixed.transpose(1, 2).flatten(2))
        return x + self.feed_forward(self.norm_2(x))


class _Frozen(nn.Module):
    """Contexts that come from elsewhere, and that of the empty prompt, which is kept."""

    empty: Tensor

    def __init__(self, length: int, width: int) -> None:
        super().__init__()
        self.register_buffer("empty", torch.zeros(length, width))

    def forward(self, rows: Tensor, given: Tensor) -> tuple[Tensor, Tensor]:
        context = torch.where(given[:, None, None], rows.to(self.empty.dtype), self.empty)
        return context, torch.ones(rows.shape[:2], dtype=torch.bool, device=rows.device)


def _split(prompt: str) -> list[str]:
    """The words of a prompt: normalised, in lower case, and without punctuation.

    Letters and digits in a row, with their marks, are a word; so is each character that is written
    without spaces, and each pictorial symbol.
    """
    normal = unicodedata.normalize("NFKC", prompt).casefold()
    text = unicodedata.normalize("NFKC", normal)
    kinds = "".join(map(_kind, text))
    return [text[slice(*found.span())] for found in re.finditer("w[wm]*|a", kinds)]


def _kind(character: str) -> str:
    """`w` of a word, `m` a mark on what stands before, `a` a word alone, or a space."""
    category: Any = unicodedata.category(character)
    if category in ("So", "Cn"):
        return "a"
    if category[0] in "LN":
        return "a" if _UNSPACED.match(character) else "w"
    return "m" if category[0] == "M" else " "
