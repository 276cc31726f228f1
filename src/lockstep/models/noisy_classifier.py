"""Classifiers of noisy images: how likely labels, or a prompt, are for what an image shows.

Their gradient guides sampling (`lockstep.diffusion.ClassifierGuidance`). A ResNet-18 (He et al.
2016, arXiv:1512.03385), narrower, that is told the noise level as a U-Net is. On top of it labels
have one logit each, and prompts a transformer that says one word after the other, as a captioning
model does: so it knows which word belongs to which, and what stands where.

Nothing in it has a kink (SiLU for ReLU, means for maxima): its gradient is continuous, and nearly
the same on any machine.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field, TypeAdapter, ValidationError
from torch import Tensor, nn

from lockstep.core import device as hardware
from lockstep.core.errors import LockstepError, what_is_wrong
from lockstep.core.files import read_json, write_json
from lockstep.core.weights import load_weights, save_weights
from lockstep.diffusion import NoiseSchedule
from lockstep.models.text.tokenizer import PADDING, UNKNOWN
from lockstep.models.unet.embeddings import MLP, timestep_embedding

DESCRIPTION, WEIGHTS = "noisy_classifier.json", "noisy_classifier.safetensors"
FILES = (DESCRIPTION, WEIGHTS)
_STAGES = 4
_LAYERS, _HEADS = 2, 4  # of the transformer

_Positive = Annotated[int, Field(ge=1)]


@dataclass(frozen=True)
class Config:
    """All of a classifier but its weights.

    `inputs` is the number of labels, or the size of the vocabulary where prompts are the condition;
    `length` is how many words a prompt has at most, and `tokenizer` the SHA-256 of the file that
    numbers them, both None for labels. `shape` is that of what is diffused, (C, H, W); `width` that
    of the first stage, and each of the other three has twice the one before; `schedule` has the
    noise levels that it knows.
    """

    inputs: _Positive
    length: _Positive | None
    tokenizer: str | None
    shape: tuple[_Positive, _Positive, _Positive]
    width: _Positive
    schedule: NoiseSchedule


@dataclass(frozen=True)
class _Description:
    """`noisy_classifier.json`; without a configuration there is no classifier."""

    config: Config | None


class NoisyClassifier(nn.Module, ABC):
    """log p(condition | x_t), of the images that it was trained on."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        widths = self.widths
        before = [widths[0], *widths[:-1]]
        self.time = MLP(4 * config.width, 4 * config.width)
        self.conv_in = nn.Conv2d(config.shape[0], config.width, 5, stride=2, padding=2, bias=False)
        self.norm_in = nn.BatchNorm2d(config.width)
        self.stages = nn.ModuleList(
            nn.Sequential(_Block(inner, outer), _Block(outer, outer))
            for inner, outer in zip(before, widths, strict=True)
        )
        # What the noise level adds before each stage; at first nothing.
        self.shifts = nn.ModuleList(nn.Linear(4 * config.width, inner) for inner in before)
        for parameter in self.shifts.parameters():
            nn.init.zeros_(parameter)

    @property
    def widths(self) -> list[int]:
        """Of the stages."""
        return [self.config.width * 2**stage for stage in range(_STAGES)]

    def features(self, x: Tensor, t: Tensor) -> list[Tensor]:
        """What each stage makes of x_t (B, C, H, W) at the levels t (B,): the last is smallest."""
        waves = timestep_embedding(t, 4 * self.config.width, flip_sin_to_cos=True, freq_shift=0)
        embedded = F.silu(self.time(waves))
        x = F.avg_pool2d(F.silu(self.norm_in(self.conv_in(x))), 2, ceil_mode=True)
        made = []
        for stage, shift in zip(self.stages, self.shifts, strict=True):
            x = stage(x + shift(embedded)[:, :, None, None])
            made.append(x)
        return made

    @abstractmethod
    def log_likelihood(self, x: Tensor, t: Tensor, values: Tensor) -> Tensor:
        """(B,): the log-probability of the conditions `values`, in fp32.

        `values` are labels (B, K), or rows of word ids (B, L).
        """

    @abstractmethod
    def has_known(self, values: Tensor) -> Tensor:
        """(B,), bool: whether a condition has any label, or any word that the classifier knows."""


class LabelClassifier(NoisyClassifier):
    """(x_t (B, C, H, W), t (B,)) -> (B, K), the logits of K labels, each for itself."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.head = nn.Linear(self.widths[-1], config.inputs)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return self.head(self.features(x, t)[-1].mean((2, 3)))

    def log_likelihood(self, x: Tensor, t: Tensor, values: Tensor) -> Tensor:
        """Of having just these labels."""
        logits = self(x, t).float()
        return -F.binary_cross_entropy_with_logits(logits, values.float(), reduction="none").sum(1)

    def has_known(self, values: Tensor) -> Tensor:
        return values.bool().any(1)


class PromptClassifier(NoisyClassifier):
    """(x_t (B, C, H, W), t (B,), ids (B, L)) -> (B, L, W), the logits of all W words.

    At each place those of the word that stands there, given the image and the words before. Words
    attend to the feature maps of the last three stages.

    Raises
    ------
    ValueError
        If the configuration is one for labels.
    """

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        if config.length is None:
            raise ValueError("length: None is for labels; use the most words that a prompt has")
        width = 4 * config.width
        self.image_projections = nn.ModuleList(nn.Linear(each, width) for each in self.widths[1:])
        self.image_positions = nn.ParameterList(
            nn.Parameter(0.5 * torch.randn(high * wide, width)) for high, wide in self._sizes()
        )
        self.image_norm = nn.LayerNorm(width)
        # The last id, after those of the vocabulary, is the start token.
        self.words = nn.Embedding(config.inputs + 1, width)
        nn.init.normal_(self.words.weight, std=0.5)
        self.positions = nn.Parameter(0.1 * torch.randn(config.length, width))
        self.layers = nn.ModuleList(_Layer(width) for _ in range(_LAYERS))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, config.inputs)

    def _sizes(self) -> list[tuple[int, int]]:
        """Height and width of the last three stages' feature maps."""
        _, height, width = self.config.shape
        # Rounded up: strided convolutions are padded.
        return [(-(-height // part), -(-width // part)) for part in (8, 16, 32)]

    def forward(self, x: Tensor, t: Tensor, ids: Tensor) -> Tensor:
        maps = zip(
            self.image_projections, self.features(x, t)[1:], self.image_positions, strict=True
        )
        tokens = [
            project(found.flatten(2).transpose(1, 2)) + position
            for project, found, position in maps
        ]
        image = self.image_norm(torch.cat(tokens, 1))
        before = F.pad(ids.long()[:, :-1], (1, 0), value=self.config.inputs)
        hidden = self.words(before) + self.positions
        for layer in self.layers:
            hidden = layer(hidden, image)
        return self.head(self.norm(hidden))

    def log_likelihood(self, x: Tensor, t: Tensor, values: Tensor) -> Tensor:
        """Of just these words, and of no more of them; unknown ones do not count."""
        logits = self(x, t, values).float().transpose(1, 2)
        wrong = F.cross_entropy(logits, values.long(), reduction="none")
        return -(wrong * counts(values)).sum(1)

    def has_known(self, values: Tensor) -> Tensor:
        return (values > UNKNOWN).any(1)


def counts(ids: Tensor) -> Tensor:
    """(B, L), bool: the known words of rows of ids, and the end behind the last word."""
    is_end = (ids == PADDING) & ((ids == PADDING).cumsum(1) == 1)
    return (ids > UNKNOWN) | is_end


def untrained(config: Config) -> NoisyClassifier:
    """The classifier of a configuration, with random weights."""
    return LabelClassifier(config) if config.length is None else PromptClassifier(config)


class _Block(nn.Module):
    """Two convolutions beside a shortcut; with more channels than before, at half the size."""

    def __init__(self, before: int, width: int) -> None:
        super().__init__()
        stride = 1 if before == width else 2
        self.conv1 = nn.Conv2d(before, width, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.shortcut = nn.Sequential()
        if stride > 1:
            conv = nn.Conv2d(before, width, 1, stride, bias=False)
            self.shortcut = nn.Sequential(conv, nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        inside = self.norm2(self.conv2(F.silu(self.norm1(self.conv1(x)))))
        return F.silu(inside + self.shortcut(x))


class _Layer(nn.Module):
    """Of a transformer's decoder (Vaswani et al. 2017, arXiv:1706.03762), with pre-normalisation.

    Words attend to those before, then to the image. It begins as the identity.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm_1 = nn.LayerNorm(width)
        self.self_attention = _Attention(width)
        self.norm_2 = nn.LayerNorm(width)
        self.cross_attention = _Attention(width)
        self.norm_3 = nn.LayerNorm(width)
        narrow = nn.Linear(4 * width, width)
        self.feed_forward = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), narrow)
        for last in (self.self_attention.out, self.cross_attention.out, narrow):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    def forward(self, x: Tensor, image: Tensor) -> Tensor:
        """Words x (B, L, D), and an image (B, S, D) -> (B, L, D)."""
        length = x.shape[1]
        earlier = torch.ones(length, length, dtype=torch.bool, device=x.device).tril()
        own = self.norm_1(x)
        x = x + self.self_attention(own, own, earlier)
        x = x + self.cross_attention(self.norm_2(x), image)
        return x + self.feed_forward(self.norm_3(x))


class _Attention(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, other: Tensor, mask: Tensor | None = None) -> Tensor:
        """x (B, L, D) attends to (B, S, D), where mask (L, S) is True -> (B, L, D)."""
        q, k, v = (
            made.unflatten(2, (_HEADS, -1)).transpose(1, 2)
            for made in (self.query(x), self.key(other), self.value(other))
        )
        # Plain products, as in `lockstep.models.text`.
        scores = (q * q.shape[3] ** -0.5) @ k.transpose(2, 3)
        if mask is not None:
            scores = scores.masked_fill(~mask, -torch.inf)
        return self.out((scores.softmax(dim=3) @ v).transpose(1, 2).flatten(2))


def save(classifier: NoisyClassifier | None, folder: Path) -> None:
    """Write it into an existing folder, or that there is none."""
    if classifier is not None:
        save_weights(classifier.state_dict(), folder / WEIGHTS)
    about = _Description(None if classifier is None else classifier.config)
    write_json(folder / DESCRIPTION, dataclasses.asdict(about))


def load(folder: Path) -> NoisyClassifier | None:
    """What `save` wrote, on the device, to be used and not trained.

    Raises `LockstepError` if it is missing or damaged.
    """
    path = folder / DESCRIPTION
    try:
        config = TypeAdapter(_Description).validate_python(read_json(path)).config
    except ValidationError as error:
        raise LockstepError(f"{path}: {what_is_wrong(error)}; `dvc checkout` restores it") from None
    if config is None:
        return None
    classifier = untrained(config)
    load_weights(classifier, folder / WEIGHTS)
    return hardware.place(classifier).eval().requires_grad_(False)
