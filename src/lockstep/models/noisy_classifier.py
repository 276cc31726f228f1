"""A classifier of noisy images: which labels an image has, or which words its prompt has.

Its gradient guides sampling (`lockstep.diffusion.ClassifierGuidance`). A ResNet-18 (He et al. 2016,
arXiv:1512.03385), narrower, that is told the noise level as a U-Net is. Nothing in it has a kink
(SiLU for ReLU, means for maxima): its gradient is continuous, and nearly the same on any machine.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydantic import Field, TypeAdapter, ValidationError
from torch import Tensor, nn

from lockstep.core import device as hardware
from lockstep.core.errors import LockstepError, what_is_wrong
from lockstep.core.files import read_json, write_json
from lockstep.core.weights import load_weights, save_weights
from lockstep.diffusion import NoiseSchedule
from lockstep.models.text.tokenizer import UNKNOWN
from lockstep.models.unet.embeddings import MLP, timestep_embedding

DESCRIPTION, WEIGHTS = "noisy_classifier.json", "noisy_classifier.safetensors"
FILES = (DESCRIPTION, WEIGHTS)
_STAGES = 4
_FIRST = UNKNOWN + 1  # id of a word

_Positive = Annotated[int, Field(ge=1)]


_Id = Annotated[int, Field(ge=0)]
Terms: TypeAlias = tuple[tuple[_Id, _Id | None], ...]
"""Words, each with None, and pairs of a word and the one after it, by the words' ids."""


@dataclass(frozen=True)
class Config:
    """All of a classifier but its weights.

    `inputs` is the number of labels, or the size of the vocabulary where prompts are the condition;
    it then predicts which `terms` the prompt of an image has. `shape` is that of what is diffused,
    (C, H, W); `width` that of the first stage, and each of the other three has twice the one
    before; `schedule` has the noise levels that it knows.
    """

    inputs: _Positive
    terms: Terms | None
    shape: tuple[_Positive, _Positive, _Positive]
    width: _Positive
    schedule: NoiseSchedule


@dataclass(frozen=True)
class _Description:
    """`noisy_classifier.json`; without a configuration there is no classifier."""

    config: Config | None


class NoisyClassifier(nn.Module):
    """(x_t (B, C, H, W), t (B,)) -> (B, K), the logits of K labels or terms, each for itself."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        widths = [config.width * 2**stage for stage in range(_STAGES)]
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
        outputs = config.inputs if config.terms is None else len(config.terms)
        self.head = nn.Linear(widths[-1], outputs)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        waves = timestep_embedding(t, 4 * self.config.width, flip_sin_to_cos=True, freq_shift=0)
        embedded = F.silu(self.time(waves))
        x = F.avg_pool2d(F.silu(self.norm_in(self.conv_in(x))), 2, ceil_mode=True)
        for stage, shift in zip(self.stages, self.shifts, strict=True):
            x = stage(x + shift(embedded)[:, :, None, None])
        return self.head(x.mean((2, 3)))

    def targets(self, values: Tensor) -> Tensor:
        """(B, K) zeros and ones in fp32, of labels (B, K) or rows of word ids (B, L)."""
        return values.float() if self.config.terms is None else has(values, self.config.terms)

    def log_likelihood(self, x: Tensor, t: Tensor, targets: Tensor) -> Tensor:
        """(B,): the log-probability of having just these `targets` (B, K)."""
        wrong = F.binary_cross_entropy_with_logits(self(x, t), targets, reduction="none")
        return -wrong.sum(1)


def terms_of(rows: NDArray[np.generic], least: int) -> Terms:
    """Terms that `least` or more of the rows (N, L) of word ids have; none with unknown words.

    Pairs say what stands together, such as which colour which shape has.
    """
    counts: Counter[tuple[int, int | None]] = Counter()
    for row in rows.tolist():
        pairs = itertools.pairwise(row)
        counts.update({(word, None) for word in row} | set(pairs))
    known = [term for term in counts if all(word is None or word >= _FIRST for word in term)]
    often = [term for term in known if counts[term] >= least]
    return tuple(sorted(often, key=lambda term: (term[1] is not None, term[0], term[1] or 0)))


def has(rows: Tensor, terms: Terms) -> Tensor:
    """(B, K): 1 where a row (B, L) of word ids has a term, else 0; in fp32."""
    first = torch.tensor([a for a, _ in terms], dtype=torch.int64, device=rows.device)
    alone = torch.tensor([b is None for _, b in terms], dtype=torch.bool, device=rows.device)
    second = torch.tensor([b or 0 for _, b in terms], dtype=torch.int64, device=rows.device)
    behind = F.pad(rows[:, 1:], (0, 1))[:, :, None]
    return ((rows[:, :, None] == first) & (alone | (behind == second))).any(1).float()


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
    classifier = NoisyClassifier(config)
    load_weights(classifier, folder / WEIGHTS)
    return hardware.place(classifier).eval().requires_grad_(False)
