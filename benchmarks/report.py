"""What was measured, where, and the table of it."""

from __future__ import annotations

import os
import platform
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from benchmarks.models import SIDES


@dataclass(frozen=True)
class Row:
    """One comparison: a figure for each side, or for ours alone; less is better unless `more`."""

    what: str
    unit: str
    figures: dict[str, float]
    more: bool = False


def machine() -> dict[str, Any]:
    """The processor, the GPU, and the versions that decide speed."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.split(": ", 1)[1] for line in lines if line.startswith("model name")]
    flags = next((line.split() for line in lines if line.startswith("flags")), [])
    return {
        "processor": models[0] if models else platform.processor(),
        "bf16": [flag for flag in ("avx512_bf16", "amx_bf16") if flag in flags],
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("torch", "diffusers", "numpy")},
    }


def as_json(rows: list[Row], command: str) -> dict[str, Any]:
    return {"command": command, "machine": machine(), "rows": [asdict(row) for row in rows]}


def table(rows: list[Row]) -> str:
    """Markdown: a line a row, the sides' figures, and how many times better ours is."""
    first, *others = SIDES
    head = ["", "unit", first, *others, *(f"against {side}" for side in others)]
    lines = [head, ["---"] * len(head)]
    for row in rows:
        ours = row.figures[first]
        ratios = []
        for side in others:
            if side not in row.figures:
                ratios.append("")
                continue
            ratio = ours / row.figures[side] if row.more else row.figures[side] / ours
            ratios.append(f"**{ratio:.2f}x**")
        shown = [f"{row.figures[side]:.3g}" if side in row.figures else "" for side in SIDES]
        lines.append([row.what, row.unit, *shown, *ratios])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
