"""What a training is: two trainings with one fingerprint give the same model."""

from __future__ import annotations

from importlib.metadata import version

from lockstep.config.schema import Params
from lockstep.core.code import digest_of_code
from lockstep.core.device import device
from lockstep.core.hashing import digest_of


def of_training(params: Params, data_digest: str, precision: str) -> str:
    """From all that changes the result: parameters, data, code, libraries, device, precision."""
    text = ("text",) if params.reads_text else ()
    return digest_of(
        {
            "params": params.deciding(*text, "model", "diffusion", "train"),
            "workload": params.workload,
            "threads": params.threads,
            "precision": precision,
            "data": data_digest,
            "code": digest_of_code("lockstep.training.loop", "lockstep.models.generator"),
            "device": device().type,
            "versions": {name: version(name) for name in ("torch", "numpy")},
        }
    )
