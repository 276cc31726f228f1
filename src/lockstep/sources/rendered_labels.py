"""i-CLEVR's scenes, drawn by the ray-caster, with the labels of what they show."""

from __future__ import annotations

from pathlib import Path

from lockstep.config.schema import Params, Rendered
from lockstep.core.processes import progress
from lockstep.sources import iclevr
from lockstep.sources.registry import Collected, Found


def collect(params: Params, out: Path) -> Found:
    """Draw the scenes and write their label files."""
    settings = params.source
    assert isinstance(settings, Rendered)
    iclevr.render(
        out,
        scenes=settings.count,
        seed=settings.seed,
        size=settings.size,
        supersample=settings.supersample,
        progress=progress("draw scenes", "scene"),
    )
    return Found(params.values("source"))


def read(folder: Path) -> Collected:
    """See `lockstep.sources.iclevr.read`."""
    return iclevr.read(folder)
