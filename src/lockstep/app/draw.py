"""From a request to images, verdicts and neighbours, each given as soon as it is there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lockstep.app.kept import Kept
from lockstep.app.models import Offer
from lockstep.app.nearest import table_of
from lockstep.app.request import Request, chosen
from lockstep.app.verdict import Verdict, judge_of
from lockstep.app.worker import Give, Worker
from lockstep.config.load import load_params
from lockstep.config.schema import Params
from lockstep.core import paths
from lockstep.core.device import make_deterministic
from lockstep.core.errors import LockstepError
from lockstep.core.pixels import to_bytes
from lockstep.diffusion import StepInfo
from lockstep.models import noisy_classifier
from lockstep.sampling.conditions import condition_called
from lockstep.sampling.sample import load, moments, sample

_SHOWN = 6  # states on the way, the image not among them
_LONGEST = 200  # characters of a warning


@dataclass(frozen=True)
class Progress:
    """The state of all images of a side after `done` of `steps`: (N, H, W, 3) bytes."""

    side: int
    done: int
    steps: int
    images: NDArray[np.uint8]


@dataclass(frozen=True)
class Finished:
    """The images of a side (N, H, W, 3), what the evaluator says, and the nearest training ones.

    `verdicts` and `nearest` (N, 3, H, W, 3) are None where they cannot be had.
    """

    side: int
    images: NDArray[np.uint8]
    verdicts: list[Verdict] | None
    nearest: NDArray[np.uint8] | None


@dataclass(frozen=True)
class Note:
    """A line for whoever asked: what the model does not read, or what cannot be shown."""

    text: str


Event = Progress | Finished | Note


class Studio:
    """Trained models in memory, and the thread that samples from them."""

    def __init__(self) -> None:
        self._kept = Kept()
        self._worker: Worker[Event] = Worker()

    def draw(self, offer: Offer, request: Request, *, nearest: bool = True) -> Iterator[Event]:
        """What comes of a request, as it comes: notes, the way of each side, then its images.

        The images are those of `lockstep sample` with the same settings. Raises `LockstepError` on
        a bad request, or if a model is missing, damaged or no longer what `offer` says.
        """
        request.check()
        return self._worker.stream(lambda give: self._draw(offer, request, nearest, give))

    def _draw(self, offer: Offer, request: Request, nearest: bool, give: Give[Event]) -> None:
        params = load_params(offer.workload)
        make_deterministic(params.threads)
        said: set[str] = set()

        def note(line: str) -> None:
            if line not in said:
                said.add(line)
                give(Note(_shortened(line)))

        drawn = []
        for side in range(len(request.sides)):
            images = self._images(offer, request, params, side, give, note)
            drawn.append(images)
            give(Finished(side, images, None, None))
        judge = table = None
        try:
            judge = judge_of(params, self._kept)
        except LockstepError as error:
            note(f"no verdicts: {error}")
        try:
            table = table_of(params, self._kept) if nearest else None
        except LockstepError as error:
            note(f"no neighbours: {error}")
        if judge is None and table is None:
            return
        for side, images in enumerate(drawn):
            give(
                Finished(
                    side,
                    images,
                    None if judge is None else judge(images, request.text),
                    None if table is None else table.nearest(images),
                )
            )

    def _images(
        self,
        offer: Offer,
        request: Request,
        params: Params,
        side: int,
        give: Give[Event],
        note: Callable[[str], None],
    ) -> NDArray[np.uint8]:
        """The images of a side (N, H, W, 3); what is not read of the text is noted first."""
        choice, settings = chosen(offer, request.sides[side], params.sample, request.count)
        folder, classifier = choice.folder, None
        if settings.classifier_scale:
            classifier = _classifier_of(folder, offer.workload)
            if classifier is None:
                note(f"{folder}: no noisy classifier is here for it, so none guides")
        trained = self._kept.get(
            ("model", choice.weights, settings.guidance_weights),
            (folder,) if classifier is None else (folder, classifier),
            lambda: load(folder, choice.weights, settings.guidance_weights, classifier),
        )
        if trained.description.condition != offer.condition:
            raise LockstepError(f"{folder}: is another model now; load the page again")
        if settings.steps > trained.description.schedule.timesteps:
            raise LockstepError(
                f"steps: {settings.steps} is above the {trained.description.schedule.timesteps} "
                f"noise levels of the model in {folder}; give fewer"
            )
        kind = condition_called(offer.condition)
        for warning in kind.warnings(folder, request.text):
            note(warning)
        conditions = kind.read(folder, [request.text]).expand(request.count)
        shown = set(moments(settings.steps, _SHOWN + 1)[:-1])

        def on_step(info: StepInfo) -> None:
            give(None)
            if info.index in shown:
                state = trained.autoencoder.decode(info.x.float())
                give(Progress(side, info.index, settings.steps, to_bytes(state)))

        images = sample(trained, settings, conditions, seed=request.seed, callback=on_step)
        return to_bytes(images)


def _classifier_of(model: Path, workload: str) -> Path | None:
    """The folder of the noisy classifier that belongs to a model: its own, or the workload's."""
    own = [paths.noisy_classifier(workload)] if model == paths.model(workload) else []
    places = (place for place in (model, *own) if (place / noisy_classifier.DESCRIPTION).exists())
    return next(places, None)


def _shortened(line: str) -> str:
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]} ..."
