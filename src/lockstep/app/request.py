"""What somebody asks the page for, checked."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from pydantic import ValidationError

from lockstep.app.models import Choice, Offer
from lockstep.config.schema import Sample
from lockstep.core.errors import LockstepError, what_is_wrong

MOST_IMAGES, MOST_STEPS, MOST_GUIDANCE, MOST_CLASSIFIER = 32, 250, 20.0, 60.0
_LONGEST = 10_000  # characters; more words than any model reads


@dataclass(frozen=True)
class Side:
    """Which weights sample, and how: one of two that can be compared."""

    model: str
    sampler: str
    steps: int
    guidance: float
    classifier: float


@dataclass(frozen=True)
class Request:
    """`count` images of `text` (None where nothing can be asked for), each by all `sides`.

    The sides get the same noise: that of (seed, number of the image), as in `lockstep sample`.
    """

    text: str | None
    count: int
    seed: int
    sides: tuple[Side, ...]

    def check(self) -> None:
        """Raises `LockstepError` on what the page does not take."""
        if not 1 <= self.count <= MOST_IMAGES:
            raise LockstepError(f"images: {self.count}; ask for 1 to {MOST_IMAGES}")
        if not 0 <= self.seed < 2**63:
            raise LockstepError(f"seed: {self.seed}; give a whole number from 0 to {2**63 - 1}")
        if len(self.text or "") > _LONGEST:
            raise LockstepError(
                f"the sentence has {len(self.text or '')} characters; write {_LONGEST} or fewer"
            )


def chosen(offer: Offer, side: Side, sample: Sample, count: int) -> tuple[Choice, Sample]:
    """The weights of a side, and `sample` with what the side changes; all images are one batch.

    Raises `LockstepError` on a model that is not offered, or a value that cannot be.
    """
    if (choice := offer.choices.get(side.model)) is None:
        raise LockstepError(
            f"unknown weights {side.model!r}; choose from {', '.join(offer.choices)}"
        )
    most = min(offer.levels, MOST_STEPS)
    if not 1 <= side.steps <= most:
        raise LockstepError(f"steps: {side.steps}; this model takes 1 to {most} here")
    if not 0 <= side.guidance <= MOST_GUIDANCE:
        raise LockstepError(f"guidance: {side.guidance}; give 0 to {MOST_GUIDANCE:g}")
    if not 0 <= side.classifier <= MOST_CLASSIFIER:
        raise LockstepError(
            f"classifier guidance: {side.classifier}; give 0 to {MOST_CLASSIFIER:g}"
        )
    try:
        settings = dataclasses.replace(
            sample,
            weights=choice.weights,
            sampler=side.sampler,  # type: ignore[arg-type]  # checked by it
            steps=side.steps,
            guidance_scale=float(side.guidance),
            classifier_scale=float(side.classifier),
            batch_size=count,
            processes=1,
        )
    except ValidationError as error:
        raise LockstepError(what_is_wrong(error)) from None
    return choice, settings
