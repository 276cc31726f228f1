"""The page itself, in Gradio: what can be asked for, and a button."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import gradio as gr

from lockstep.app import html
from lockstep.app.draw import Finished, Note, Progress, Studio
from lockstep.app.models import Offer, offer
from lockstep.app.request import (
    MOST_CLASSIFIER,
    MOST_GUIDANCE,
    MOST_IMAGES,
    MOST_STEPS,
    Request,
    Side,
)
from lockstep.config.load import load_params
from lockstep.config.schema import Params, is_guided
from lockstep.core.errors import LockstepError

_LOG = logging.getLogger(__name__)
CSS = files("lockstep.app").joinpath("templates/page.css").read_text("utf-8")
_SAMPLERS = [
    ("DPM++ 2M", "dpmpp_2m"),
    ("Heun", "heun"),
    ("Euler", "euler"),
    ("DDIM", "ddim"),
    ("DDPM", "ddpm"),
]
_TITLES = ("First", "Second")
_IMAGES = 3  # at first: a press takes less than 3 s on two cores
# Of a page that is built when it is loaded Gradio does not find out what is an input.
_INPUT: dict[str, Any] = {"interactive": True}
_NARROW: dict[str, Any] = {**_INPUT, "min_width": 120}  # beside each other


def build(workloads: Sequence[str], others: Sequence[Path] = ()) -> gr.Blocks:
    """The page: a tab for each workload, `others` being models to compare the only one with.

    What a tab offers is looked up whenever the page is loaded, so that a model which was trained or
    replaced in the meantime is there after a reload.
    """
    studio = Studio()
    with gr.Blocks(title="Lockstep", analytics_enabled=False) as page:
        gr.Markdown("# Lockstep\nImages from the models that are trained in this folder.")

        @gr.render(concurrency_limit=1)
        def tabs() -> None:
            with gr.Tabs():
                for workload in workloads:
                    with gr.Tab(workload):
                        try:
                            params = load_params(workload)
                            _tab(studio, params, offer(params, others))
                        except LockstepError as error:
                            gr.HTML(html.status(str(error), failed=True))

    return page.queue(max_size=16, api_open=False, default_concurrency_limit=1)


def _tab(studio: Studio, params: Params, offered: Offer) -> None:
    with gr.Row():
        with gr.Column(scale=2, min_width=320):
            asked = _asked(offered)
            with gr.Row():
                count = gr.Slider(1, MOST_IMAGES, _IMAGES, step=1, label="Images", **_NARROW)
                seed = gr.Number(0, label="Seed", minimum=0, precision=0, **_NARROW)
            button = gr.Button("Generate", variant="primary")
            first = _settings(params, offered, "")
            compare = gr.Checkbox(
                False, label="Compare with other settings on the same noise", **_INPUT
            )
            with gr.Column(visible=False) as more:
                second = _settings(params, offered, " (second)")
            compare.change(lambda on: gr.update(visible=on), compare, more, **_QUIET)
            nearest = gr.Checkbox(True, label="Show the nearest training images", **_INPUT)
        with gr.Column(scale=5, min_width=480):
            said = gr.HTML(html.status("Nothing generated yet."))
            shown = gr.HTML()
    controls = [count, seed, compare, nearest, *first, *second, *asked]
    button.click(_pressed(studio, offered), controls, [said, shown], **_ONE_AT_A_TIME)


# Neither is offered as an API; both go through the queue, whose routes alone answer.
_QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
_ONE_AT_A_TIME: dict[str, Any] = {
    "concurrency_id": "draw",
    "concurrency_limit": 1,
    "show_progress": "minimal",
    "api_visibility": "private",
}


def _asked(offered: Offer) -> list[Any]:
    """The control that says what images are to show; none where nothing can be said."""
    counted = [
        (name if number is None else f"{name} ({number})", name)
        for name, number in offered.names.items()
    ]
    match offered.condition:
        case "labels":
            info = "In brackets: how many training images show it."
            if offered.most is not None:
                info += f" None of them shows more than {offered.most} objects."
            ticked = list(offered.names)[:2]
            return [
                gr.CheckboxGroup(
                    counted,
                    value=ticked,
                    label="Objects",
                    info=info,
                    elem_classes="objects",
                    **_INPUT,
                )
            ]
        case "classes":
            return [gr.Dropdown(counted, value=counted[0][1], label="Class", **_INPUT)]
        case "prompts":
            sentence = "a red cube and a cyan sphere"
            return [gr.Textbox(sentence, label="Sentence", lines=2, max_lines=6, **_INPUT)]
        case _:
            return []


def _settings(params: Params, offered: Offer, suffix: str) -> list[Any]:
    """The controls of one side; guidance where there is a condition, or a classifier for it."""
    sample, names = params.sample, list(offered.choices)
    weights = f"step {sample.weights}" if isinstance(sample.weights, int) else sample.weights
    most = min(offered.levels, MOST_STEPS)
    weights = weights if weights in names else names[0]
    with gr.Row():
        model = gr.Dropdown(names, value=weights, label=f"Weights{suffix}", **_NARROW)
        sampler = gr.Dropdown(_SAMPLERS, value=sample.sampler, label=f"Sampler{suffix}", **_NARROW)
    steps = gr.Slider(1, most, min(sample.steps, most), step=1, label=f"Steps{suffix}", **_INPUT)
    guidance = gr.Slider(
        0,
        MOST_GUIDANCE,
        min(sample.guidance_scale, MOST_GUIDANCE),
        step=0.5,
        label=f"Guidance{suffix}",
        **_INPUT,
        visible=is_guided(offered.condition, sample.guidance_weights),
    )
    classifier = gr.Slider(
        0,
        MOST_CLASSIFIER,
        min(sample.classifier_scale, MOST_CLASSIFIER),
        step=1,
        label=f"Classifier guidance{suffix}",
        **_INPUT,
        visible=params.noisy_classifier.steps > 0,
    )
    return [model, sampler, steps, guidance, classifier]


def _pressed(studio: Studio, offered: Offer) -> Callable[..., Iterator[tuple[Any, Any]]]:
    def pressed(
        count: int, seed: int, compare: bool, nearest: bool, *values: Any
    ) -> Iterator[tuple[Any, Any]]:
        """What the page says and shows, again and again until all is there."""
        sides = [Side(*values[:5]), Side(*values[5:10])][: 1 + compare]
        notes: list[str] = []
        yield html.status("Generating ..."), gr.skip()
        try:
            request = Request(_text(offered, values[10:]), int(count), int(seed or 0), tuple(sides))
            titles = _TITLES[: len(sides)] if compare else ("Images",)
            there: list[Progress | Finished | None] = [None] * len(sides)
            for event in studio.draw(offered, request, nearest=nearest):
                if isinstance(event, Note):
                    notes.append(event.text)
                    yield html.status("Generating ...", notes), gr.skip()
                else:
                    there[event.side] = event
                    line = html.status("Generating ...", notes)
                    yield line, html.results(titles, there, request.seed)
            yield html.status("Done.", notes), gr.skip()
        except LockstepError as error:
            yield html.status(str(error), notes, failed=True), gr.skip()
        except Exception:  # The page must not say for ever that it generates.
            _LOG.exception("a press failed")
            line = "Failed; the terminal of `lockstep app` says why."
            yield html.status(line, notes, failed=True), gr.skip()

    return pressed


def _text(offered: Offer, asked: Sequence[Any]) -> str | None:
    """What was asked for, as `lockstep sample` reads it."""
    match offered.condition:
        case "labels":
            if not asked[0]:
                raise LockstepError("no object is ticked; tick one or more")
            return ", ".join(asked[0])
        case "none":
            return None
        case _:
            return str(asked[0] or "")
