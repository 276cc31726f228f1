"""Where images come from, by the type of the source and by what is said of its images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from lockstep.config.schema import Params
from lockstep.config.sources import Folder
from lockstep.core import hashing
from lockstep.core.registry import Registry

Progress = Callable[[Iterable[Any], int], Iterable[Any]]
"""Hands items on and shows how many of how many that was; see `core.processes.progress`."""


@dataclass(frozen=True)
class Found:
    """What collecting tells: its metrics, and the values that decided it."""

    params: Mapping[str, Any]
    metrics: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Collected:
    """N images, ready to be packed.

    `conditions` is (N, C) of zeros and ones; C is 0 where nothing is said of the images. Or (N, 1),
    the numbers of prompts, of which 0 is the empty one.
    """

    images: Sequence[Path]
    groups: Sequence[str]  # A split has all images of a group, or none of it.
    conditions: NDArray[np.integer]
    mirrorable: bool  # The conditions still hold of a mirrored image.
    names: Sequence[str] = ()  # of the C columns, if they have any
    carried: Sequence[Path] = ()  # Further files that are kept beside the packed images.


class Source(Protocol):
    """A module of the registry."""

    def collect(self, params: Params, out: Path) -> Found:
        """Fill a folder with images and what is said of them."""

    def read(self, folder: Path) -> Collected:
        """What the data set is packed from."""


REGISTRY: Registry[Params] = Registry(
    lambda params: (params.source.type, params.condition),
    {
        ("rendered", "labels"): "lockstep.sources.iclevr",
        ("rendered", "prompts"): "lockstep.sources.captions.rendered",
        ("folder", "none"): "lockstep.sources.image_folder",
        ("folder", "classes"): "lockstep.sources.class_folder",
        ("folder", "labels"): "lockstep.sources.iclevr",
        ("folder", "prompts"): "lockstep.sources.captions.folder",
        ("addresses", "none"): "lockstep.sources.addressed_images",
        ("addresses", "prompts"): "lockstep.sources.captions.addressed",
        ("ptt", "none"): "lockstep.sources.ptt_faces",
        ("photos", "none"): "lockstep.sources.photo_faces",
    },
)


def said_of(params: Params) -> dict[str, Any]:
    """The values of `source`, of paths the last part: where a folder lies decides nothing."""
    values = params.values("source")
    if "source.paths" in values:
        values["source.paths"] = [Path(path).name for path in values["source.paths"]]
    return values


def verified_folder(params: Params) -> Path:
    """The folder of a source that is one.

    Raises `LockstepError` if it is missing, or not the one of params.yaml.
    """
    settings = params.source
    assert isinstance(settings, Folder)
    return hashing.verified(settings.paths[0], settings.sha256[0], f"{params.workload}.source")


def source_of(params: Params) -> Source:
    """The module for a workload's source."""
    return cast(Source, REGISTRY.load(params))
