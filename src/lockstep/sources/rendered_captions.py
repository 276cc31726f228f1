"""Scenes drawn by the ray-caster, with a sentence each."""

from __future__ import annotations

from pathlib import Path

from lockstep.config.schema import Params, Rendered
from lockstep.core.processes import cores, progress
from lockstep.sources.captions import packing
from lockstep.sources.captions.rendered import render
from lockstep.sources.registry import Collected, Found


def collect(params: Params, out: Path) -> Found:
    """Draw the images and write their captions, and what is known of them."""
    settings = params.source
    assert isinstance(settings, Rendered)
    render(
        out,
        count=settings.count,
        seed=settings.seed,
        size=settings.size,
        supersample=settings.supersample,
        processes=cores(),
        progress=progress("draw scenes", "image"),
    )
    return Found(params.values("source"))


def read(folder: Path) -> Collected:
    """See `lockstep.sources.captions.packing.read`."""
    return packing.read(folder)
