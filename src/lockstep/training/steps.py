"""What is decided before a training: its steps, once the images are counted; its fingerprint."""

from __future__ import annotations

import dataclasses
import math
from importlib.metadata import version
from itertools import count, takewhile

from lockstep.config.combinations import check_steps
from lockstep.config.schema import Params
from lockstep.core.code import digest_of_code
from lockstep.core.device import device
from lockstep.core.hashing import digest_of


def with_steps(params: Params, images: int) -> Params:
    """The parameters with epochs made steps, given how many images there are.

    Raises `LockstepError` if the steps are too few for what is to happen at some of them.
    """

    def after(epochs: int) -> int:
        return math.ceil(epochs * images / params.train.batch_size)

    train = params.train
    if train.epochs is not None:
        train = dataclasses.replace(train, steps=after(train.epochs), epochs=None)
        check_steps(train, f"{params.train.epochs} epochs of {images} images")
    every, steps = train.snapshot_every_epochs, train.steps
    if every is not None and steps is not None:
        more = takewhile(lambda step: step <= steps, map(after, count(every, every)))
        snapshots = tuple(sorted({*train.snapshots, *more}))
        train = dataclasses.replace(train, snapshots=snapshots, snapshot_every_epochs=None)
    return dataclasses.replace(params, train=train)


def fingerprint_of(params: Params, data_digest: str, precision: str) -> str:
    """Of all that changes the model: parameters, data, code, libraries, device, precision."""
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
