"""What a training is: two trainings with one fingerprint give the same model."""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

import lockstep
from lockstep.device import device
from lockstep.params import Params

# The code that decides the weights. A change anywhere in it is another training.
CODE = (
    "unet",
    "diffusion",
    "text",
    "training",
    "dataset.py",
    "device.py",
    "distributed.py",
    "generator.py",
    "history.py",
    "pixels.py",
    "weights.py",
)


def of(value: Any) -> str:
    """SHA-256 of a JSON-able value, independent of the order of its keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def of_training(params: Params, data_digest: str, precision: str) -> str:
    """From all that changes the result: parameters, data, code, libraries, device, precision."""
    text = ("text",) if params.reads_text else ()
    return of(
        {
            "params": params.deciding(*text, "model", "diffusion", "train"),
            "workload": params.workload,
            "threads": params.threads,
            "precision": precision,
            "data": data_digest,
            "code": _code_digest(),
            "device": device().type,
            "versions": {name: version(name) for name in ("torch", "numpy")},
        }
    )


def _code_digest() -> str:
    root = Path(lockstep.__file__).parent
    total = hashlib.sha256()
    for name in CODE:
        path = root / name
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            total.update(f"{file.relative_to(root)}\0".encode())
            total.update(file.read_bytes())
    return total.hexdigest()
