"""Epochs as steps, once it is known how many images there are."""

from __future__ import annotations

import dataclasses
import math
from itertools import count, takewhile

from lockstep.config.combinations import check_steps
from lockstep.config.schema import Params


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
