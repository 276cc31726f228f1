"""What `lockstep app` does, without a page: from a request to images and what is said of them."""

from __future__ import annotations

import dataclasses
import shutil
import sys
import weakref
from itertools import islice
from pathlib import Path
from threading import Event, Thread

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import tiny_models
from app_project import (
    OBJECTS,
    write_labelled,
    write_params,
    write_prompted,
    write_surroundings,
    write_unconditional,
)
from lockstep import cli
from lockstep.app import html, nearest, verdict
from lockstep.app.draw import Finished, Note, Progress, Studio
from lockstep.app.kept import Kept
from lockstep.app.models import Choice, Offer, offer
from lockstep.app.request import Request, Side
from lockstep.app.verdict import Seen, Verdict, objects_in
from lockstep.app.worker import Worker
from lockstep.config.load import load_params
from lockstep.core import paths
from lockstep.core.errors import LockstepError
from lockstep.core.images import grid, read_rgb
from lockstep.data.clevr import COLOURS, SHAPES
from lockstep.data.dataset import open_dataset
from lockstep.models.generator import Generator

SIDE = Side("ema", "dpmpp_2m", 4, 2.0, 0.0)


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    write_params()
    return tmp_path


@pytest.fixture
def studio() -> Studio:
    return Studio()


def offered(workload: str, *others: Path) -> Offer:
    return offer(load_params(workload), others)


def request(text: str | None = None, *sides: Side, count: int = 3, seed: int = 5) -> Request:
    return Request(text, count, seed, sides or (SIDE,))


def images(studio: Studio, of: Offer, asked: Request) -> np.ndarray:
    """The images of the first side."""
    events = studio.draw(of, asked, nearest=False)
    return next(e.images for e in events if isinstance(e, Finished) and e.side == 0)


# Images


def test_the_images_are_those_of_lockstep_sample(
    work: Path, studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_labelled("iclevr")
    command = ["sample", "iclevr", "cyan sphere, red cube", "--count", "3", "--seed", "5"]
    options = ["--steps", "3", "--guidance", "4.5", "--weights", "last"]
    monkeypatch.setattr(sys, "argv", ["lockstep", *command, *options])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0
    side = Side("last", "dpmpp_2m", 3, 4.5, 0.0)
    found = images(studio, offered("iclevr"), request("cyan sphere, red cube", side))
    assert np.array_equal(grid(found, per_row=8), read_rgb(Path("sample.png")))


def test_a_noisy_classifier_guides_as_far_as_is_asked(
    work: Path, studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_labelled("iclevr")
    of, led = offered("iclevr"), request("red cube", dataclasses.replace(SIDE, classifier=30.0))
    plain = images(studio, of, request("red cube"))
    events = list(studio.draw(of, led, nearest=False))
    notes = [event.text for event in events if isinstance(event, Note)]
    assert "models/iclevr: no noisy classifier is here for it, so none guides" in notes
    tiny_models.save_classifier(paths.noisy_classifier("iclevr"), paths.model("iclevr"))
    found = images(studio, of, led)
    assert not np.array_equal(found, plain)
    assert np.array_equal(images(studio, of, request("red cube")), plain)
    command = ["sample", "iclevr", "red cube", "--count", "3", "--seed", "5", "--steps", "4"]
    options = ["--guidance", "2", "--classifier-scale", "30"]
    monkeypatch.setattr(sys, "argv", ["lockstep", *command, *options])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 0
    assert np.array_equal(grid(found, per_row=8), read_rgb(Path("sample.png")))


def test_the_way_from_noise_is_shown_before_the_images(work: Path, studio: Studio) -> None:
    write_unconditional("faces")
    asked = request(None, dataclasses.replace(SIDE, steps=12))
    events = list(studio.draw(offered("faces"), asked, nearest=False))
    way = [event for event in events if isinstance(event, Progress)]
    assert [event.done for event in way] == [0, 2, 4, 6, 8, 10]
    assert events.index(way[-1]) < next(
        place for place, event in enumerate(events) if isinstance(event, Finished)
    )
    assert len({event.images.tobytes() for event in way}) == len(way)


def test_two_sides_begin_with_the_same_noise(work: Path, studio: Studio) -> None:
    write_labelled("iclevr")
    write_labelled("iclevr", seed=1, folder=Path("before"))
    of = offered("iclevr", Path("before"))
    sides = (SIDE, dataclasses.replace(SIDE, model="before: ema"))
    events = list(studio.draw(of, request("red cube", *sides), nearest=False))
    starts = [e.images for e in events if isinstance(e, Progress) and e.done == 0]
    assert np.array_equal(*starts)
    ends = {e.side: e.images for e in events if isinstance(e, Finished)}
    assert not np.array_equal(ends[0], ends[1])


def test_a_model_that_is_replaced_is_loaded_anew(work: Path, studio: Studio) -> None:
    write_unconditional("faces")
    of, asked = offered("faces"), request()
    before = images(studio, of, asked)
    assert np.array_equal(images(studio, of, asked), before)
    shutil.rmtree(paths.model("faces"))
    with pytest.raises(LockstepError, match=r"^models/faces/provenance.json: missing; `dvc repro`"):
        images(studio, of, asked)
    write_unconditional("faces", seed=1)
    assert not np.array_equal(images(studio, of, asked), before)
    shutil.rmtree(paths.model("faces"))
    write_labelled("faces")
    with pytest.raises(LockstepError, match="is another model now; load the page again"):
        images(studio, of, asked)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"count": 0}, "images: 0; ask for 1 to 32"),
        ({"count": 33}, "images: 33; ask for 1 to 32"),
        ({"seed": -1}, "seed: -1; give a whole number from 0"),
        ({"seed": 2**63}, "seed: 9223372036854775808; give"),
        ({"text": "x" * 10_001}, "the sentence has 10001 characters; write 10000 or fewer"),
        ({"text": "zebra"}, "unknown name 'zebra'; choose from red cube, cyan sphere"),
        ({"model": "../../etc/passwd"}, "unknown weights '../../etc/passwd'; choose from ema"),
        ({"sampler": "plms"}, "sampler: Input should be 'ddpm', 'ddim', 'dpmpp_2m', 'euler' or"),
        ({"steps": 0}, "steps: 0; this model takes 1 to 250 here"),
        ({"steps": 251}, "steps: 251; this model takes 1 to 250 here"),
        ({"guidance": -0.5}, "guidance: -0.5; give 0 to 20"),
        ({"guidance": float("nan")}, "guidance: nan; give 0 to 20"),
        ({"classifier": 61.0}, "classifier guidance: 61.0; give 0 to 60"),
    ],
    ids=str,
)
def test_a_bad_request_is_one_line(
    work: Path, studio: Studio, changed: dict[str, object], said: str
) -> None:
    write_labelled("iclevr")
    of_a_side = {field.name for field in dataclasses.fields(Side)}
    side = dataclasses.replace(SIDE, **{k: v for k, v in changed.items() if k in of_a_side})
    others = {k: v for k, v in changed.items() if k not in of_a_side}
    asked = dataclasses.replace(request("red cube", side), **others)
    with pytest.raises(LockstepError) as caught:
        list(studio.draw(offered("iclevr"), asked))
    assert str(caught.value).startswith(said)
    assert "\n" not in str(caught.value)


def test_what_is_not_read_of_a_sentence_is_said_first(work: Path, studio: Studio) -> None:
    write_prompted("captions")
    of = offered("captions")
    for text, said in (
        ("a red zebra", "not among the training's words: zebra"),
        ("a red cube " * 909, "the prompt is too long: its last 2719 words are left out"),
        ("z" * 10_000, f"not among the training's words: {'z' * 168} ..."),
    ):
        first, *events = studio.draw(of, request(text, SIDE, SIDE), nearest=False)
        assert first == Note(said)
        assert not [e for e in events if isinstance(e, Note) and e.text == said]
        assert sum(isinstance(e, Finished) for e in events) >= 2


def test_images_come_without_evaluator_and_data(work: Path, studio: Studio) -> None:
    write_labelled("iclevr")
    of = offered("iclevr")
    assert (of.names, of.most) == (dict.fromkeys(OBJECTS), None)
    *events, before, last = studio.draw(of, request("red cube"))
    assert isinstance(before, Note) and before.text.startswith("no verdicts: evaluators/iclevr")
    assert isinstance(last, Note) and last.text.startswith("no neighbours: data/dataset/iclevr")
    assert any(isinstance(event, Finished) for event in events)


def test_everything_beside_the_images(work: Path, studio: Studio) -> None:
    write_labelled("iclevr")
    write_surroundings("iclevr")
    of = offered("iclevr")
    data = open_dataset(paths.dataset("iclevr"))
    shown = data.conditions[data.indices("train")].sum(0)
    assert of.names == dict(zip(OBJECTS, shown.tolist(), strict=True))
    assert of.most == 1
    *_, last = studio.draw(of, request("red cube"))
    assert isinstance(last, Finished)
    assert last.verdicts is not None and len(last.verdicts) == 3
    assert last.nearest is not None and last.nearest.shape == (3, 3, 16, 16, 3)


# Neighbours


def test_a_training_image_is_its_own_neighbour(work: Path) -> None:
    write_labelled("iclevr")
    write_surroundings("iclevr")
    data = open_dataset(paths.dataset("iclevr"))
    some = data.images[data.indices("train")[[7, 2]]]
    table = nearest.table_of(load_params("iclevr"), Kept())
    assert np.array_equal(table.nearest(some)[:, 0], some)


def test_a_reference_of_other_images_is_refused(work: Path) -> None:
    write_labelled("iclevr")
    write_surroundings("iclevr")
    split = np.load(paths.dataset("iclevr") / "split.npy")
    split[-1] = 1
    np.save(paths.dataset("iclevr") / "split.npy", split)
    with pytest.raises(LockstepError, match="`dvc repro reference@iclevr`"):
        nearest.table_of(load_params("iclevr"), Kept())


# Verdicts


class Says(nn.Module):
    """An evaluator that says the same of each image."""

    def __init__(self, said: Tensor) -> None:
        super().__init__()
        self.said = nn.Parameter(said)

    def forward(self, images: Tensor) -> Tensor:
        return self.said.expand(len(images), *self.said.shape)


ONE = np.zeros((1, 16, 16, 3), np.uint8)


@pytest.mark.parametrize(
    ("scores", "asked", "seen", "right"),
    [
        ([0.9, 0.8, 0.1], "red cube, cyan sphere", "red cube:right cyan sphere:right", True),
        ([0.9, 0.2, 0.1], "cyan sphere,red cube", "red cube:right cyan sphere:missing", False),
        ([0.9, 0.8, 0.1], "red cube", "red cube:right cyan sphere:unasked", False),
        ([0.1, 0.2, 0.1], "red cube", "red cube:missing", False),
    ],
)
def test_objects_are_seen_above_one_half(
    scores: list[float], asked: str, seen: str, right: bool
) -> None:
    names = list(OBJECTS)
    (found,) = verdict._labels(Says(torch.tensor(scores)), names, ONE, asked, one=False)  # type: ignore[arg-type]
    assert " ".join(f"{one.name}:{one.state}" for one in found.seen) == seen
    assert found.right is right


def test_of_classes_the_likeliest_is_seen() -> None:
    names, network = ["cat", "dog", "owl"], Says(torch.tensor([0.2, 0.3, 0.1]))
    (found,) = verdict._labels(network, names, ONE, "dog", one=True)  # type: ignore[arg-type]
    assert found == Verdict((Seen("dog", "right"),), True)
    (found,) = verdict._labels(network, names, ONE, "cat", one=True)  # type: ignore[arg-type]
    assert found == Verdict((Seen("dog", "unasked"),), False)


@pytest.mark.parametrize(
    ("text", "state", "right"),
    [
        ("a red cube", "right", True),
        ("a Large, RED cube.", "size", False),
        ("a small red cube", "right", True),
        ("a blue cube", "unasked", False),
        ("something", "unasked", None),
        ("a hundred cubes", "unasked", None),
    ],
)
def test_objects_of_a_sentence(text: str, state: str, right: bool | None) -> None:
    said = torch.zeros(24, 4)
    said[COLOURS.index("red"), 0] = 0.9  # present, and not large
    (found,) = verdict._scenes(Says(said), ONE, text)  # type: ignore[arg-type]
    assert found.seen[0] == Seen("small red cube", state)  # type: ignore[arg-type]
    assert found.right is right


objects = st.tuples(
    st.sampled_from([None, "small", "large"]), st.sampled_from(COLOURS), st.sampled_from(SHAPES)
)


@given(st.lists(objects, max_size=4, unique_by=lambda one: one[1:]))
def test_the_objects_that_a_sentence_names(said: list[tuple[str | None, str, str]]) -> None:
    words = [" ".join(part for part in one if part) for one in said]
    found = objects_in("There is a " + ", and behind it a ".join(words) + "!")
    assert found == {f"{colour} {shape}": size for size, colour, shape in said}


# HTML


def test_no_text_becomes_html() -> None:
    bad = "<script>alert(1)</script>"
    side = Finished(
        0, np.zeros((1, 4, 4, 3), np.uint8), [Verdict((Seen(bad, "right"),), True)], None
    )
    for written in (html.results([bad], [side], 0), html.status(bad, [bad], failed=True)):
        assert "<script" not in written
        assert "&lt;script&gt;" in written
    assert "1 of 1 right" in html.results(["x"], [side], 0)


# One thread, and what is kept


def test_work_stops_when_nobody_reads_on() -> None:
    worker: Worker[int] = Worker()
    reached = []

    def endless(give) -> None:
        for number in range(10**9):
            reached.append(number)
            give(number)

    stream = worker.stream(endless)
    assert list(islice(stream, 3)) == [0, 1, 2]
    stream.close()  # type: ignore[attr-defined]
    # Another one's turn comes only when that one has ended.
    assert list(worker.stream(lambda give: give(-1))) == [-1]
    assert len(reached) < 10**9


def test_sampling_stops_at_the_next_step(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_unconditional("faces")
    studio, steps = Studio(), []
    network = Generator.forward

    def counted(model: Generator, *inputs: object) -> Tensor:
        steps.append(1)
        reading.wait(60)  # the sampler waits here until the reader has gone
        return network(model, *inputs)  # type: ignore[arg-type]

    reading = Event()
    reading.set()
    monkeypatch.setattr(Generator, "forward", counted)
    asked = request(None, dataclasses.replace(SIDE, steps=200))
    events = studio.draw(offered("faces"), asked)
    assert isinstance(next(events), Progress)
    reading.clear()
    events.close()  # type: ignore[attr-defined]
    done = len(steps)
    reading.set()
    # The next request's turn comes when the first has stopped.
    assert len(list(studio.draw(offered("faces"), request(), nearest=False))) > 1
    assert len(steps) <= done + 1 + 4


def test_two_at_once_take_turns() -> None:
    worker: Worker[str] = Worker()
    begun, go, order = Event(), Event(), []

    def first(give) -> None:
        begun.set()
        assert go.wait(60)
        order.append("first")
        give("first")

    def second(give) -> None:
        order.append("second")
        give("second")

    streams = [worker.stream(first), worker.stream(second)]
    results: list[list[str]] = [[], []]
    readers = [Thread(target=lambda i=i: results[i].extend(streams[i])) for i in (0, 1)]
    readers[0].start()
    assert begun.wait(60)
    readers[1].start()
    go.set()
    for reader in readers:
        reader.join(60)
    assert results == [["first"], ["second"]]
    assert order == ["first", "second"]


def test_an_error_of_the_work_reaches_the_reader() -> None:
    worker: Worker[int] = Worker()

    def fails(give) -> None:
        give(1)
        raise LockstepError("it is broken")

    stream = worker.stream(fails)
    assert next(stream) == 1
    with pytest.raises(LockstepError, match="it is broken"):
        next(stream)


def test_what_is_kept_is_read_again_when_a_file_changes(tmp_path: Path) -> None:
    kept, read = Kept(most=2), []
    (tmp_path / "a").write_text("1")

    def load() -> str:
        read.append((tmp_path / "a").read_text())
        return read[-1]

    assert [kept.get("x", (tmp_path,), load) for _ in range(3)] == ["1"] * 3
    assert len(read) == 1
    (tmp_path / "a").write_text("12")
    assert kept.get("x", (tmp_path,), load) == "12"
    for kind in ("y", "z"):
        kept.get(kind, (tmp_path,), lambda: "")
    kept.get("x", (tmp_path,), load)
    assert len(read) == 3


class Large:
    """Something of which two do not fit."""


def test_what_is_replaced_is_gone_before_the_new_one_is_read(tmp_path: Path) -> None:
    kept = Kept()
    known = weakref.ref(kept.get("model", (tmp_path,), Large))
    (tmp_path / "model.json").touch()
    alive = []
    kept.get("model", (tmp_path,), lambda: alive.append(known()) or Large())
    assert alive == [None]


def test_an_average_without_a_file_is_offered_where_it_is_the_default(work: Path) -> None:
    write_labelled("iclevr")
    assert "ema_0.07" not in offered("iclevr").choices
    params = load_params("iclevr")
    sample = dataclasses.replace(params.sample, weights="ema_0.07")
    choices = offer(dataclasses.replace(params, sample=sample)).choices
    assert choices["ema_0.07"] == Choice(paths.model("iclevr"), "ema_0.07")
    assert next(iter(choices)) == "ema"
