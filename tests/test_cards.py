"""The data card beside each collected set: true of it, read by the hub's own reader, safe."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from huggingface_hub import DatasetCard
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from lockstep.config.document import read_yaml
from lockstep.config.load import load_params, parse_params
from lockstep.config.schema import Params
from lockstep.core import paths
from lockstep.core.errors import LockstepError
from lockstep.core.files import atomic_folder, write_csv
from lockstep.core.hashing import sha256
from lockstep.core.images import write_png
from lockstep.core.provenance import write_provenance
from lockstep.data.clevr import COLOURS, SHAPES
from lockstep.report.card import card as on_the_page
from lockstep.sources import image_folder
from lockstep.sources.cards import card
from lockstep.sources.cards.subject import plain, table
from lockstep.sources.faces.decide import RULES
from lockstep.sources.folders import decide as folders
from lockstep.sources.listing import write_lines
from lockstep.sources.outcomes import _MEANINGS, decided
from lockstep.sources.registry import Collected, Found, source_of
from odd_files import encoded, head
from tiny import ROOT

COMMITTED = ROOT / "params.yaml"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to collect in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.setattr(image_folder, "cores", lambda: 1)
    (tmp_path / "exclude.txt").touch()
    return tmp_path


def with_source(workload: str, condition: str | None = None, **values: Any) -> Params:
    committed = load_params(workload, COMMITTED)
    source = dataclasses.replace(committed.source, **values)
    return dataclasses.replace(committed, source=source, condition=condition or committed.condition)


def saying(params: Params, **values: str) -> Params:
    return dataclasses.replace(params, card=dataclasses.replace(params.card, **values))


def collected(params: Params) -> tuple[str, DatasetCard]:
    """As the stage does it: the card's text, and as the hub's library reads it."""
    with atomic_folder(paths.collected(params.workload)) as out:
        source = source_of(params)
        found = source.collect(params, out)
        write_provenance(out, found.params)
        card.write(params, out, found, source.read(out))
    path = paths.card(params.workload)
    return path.read_text("utf-8"), DatasetCard.load(path)


def own(here: Path, given: dict[str, int]) -> Path:
    for name, number in given.items():
        (here / "own" / name).parent.mkdir(parents=True, exist_ok=True)
        (here / "own" / name).write_bytes(encoded(head(number), "PNG"))
    return here / "own"


def rows(text: str) -> list[list[str]]:
    """The cells of all tables, as a reader of Markdown sees them."""
    html = MarkdownIt("commonmark").enable("table").render(text)
    found = re.findall(r"<tr>(.*?)</tr>", html, re.DOTALL)
    return [
        [re.sub(r"<[^>]+>", "", cell) for cell in re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row)]
        for row in found
    ]


def test_ones_own_folder_with_classes(here: Path) -> None:
    given = {"a|b/1.png": 1, "a|b/2.png": 2, "dog/1.png": 3, "dog/2.png": 4, "dog/x.png": 4}
    folder = own(here, given)
    (folder / "readme.txt").write_text("not an image")
    params = with_source("anime", "classes", paths=(str(folder),), size=64)
    text, read = collected(params)
    assert read.data.license == "unknown" and read.data.size_categories == ["n<1K"]
    assert read.data.task_categories == ["unconditional-image-generation", "image-classification"]
    assert read.data.configs == [{"config_name": "default", "data_files": ["images/*.png"]}]
    assert "4 images in `images/`: 64 x 64 pixels, RGB, PNG." in text
    cells = rows(read.text)
    assert ["kept", "4", "in this set"] in cells
    assert ["copy", "1", "the same bytes as a file that was kept"] in cells
    assert ["broken", "1", _MEANINGS["folder"]["broken"]] in cells
    assert ["a|b", "2"] in cells and ["dog", "2"] in cells
    assert "\n- own, SHA-256 `" in text and str(here) not in text
    assert text.count("**to be filled in**") == 5 and "Write to **(to be filled in)**. " in text
    for risk in ("people who did not agree", "minors", "watermarks", "copies", "bias"):
        assert risk in text
    assert "exclude.txt" in text.partition("## How somebody is taken out")[2]


def test_hashes_of_the_sources_are_in_it(here: Path) -> None:
    folder = own(here, {"1.png": 1, "2.png": 2})
    params = with_source("anime", paths=(str(folder),), sha256=(sha256(folder),), size=64)
    assert f"- own, SHA-256 `{sha256(folder)}`" in collected(params)[0]


def test_what_a_person_says_stays_and_the_rest_is_the_same_bytes(here: Path) -> None:
    folder = own(here, {"1.png": 1, "2.png": 2})
    silent = with_source("anime", paths=(str(folder),), size=64)
    params = saying(
        silent,
        license="cc-by-4.0",
        origin="our cameras, 2024",
        contact="[us](https://a.example/out)",
        rights="ours,\nevery | one",
        consent="all were asked",
    )
    text, read = collected(params)
    assert read.data.license == "cc-by-4.0"
    assert "to be filled in**" not in text and "(to be filled in)" not in text
    assert "| ours, every \\| one |" in text
    assert "Write to [us](https://a.example/out). " in text
    assert collected(params)[0] == text  # a second run: nothing is lost, nothing changes
    before = {p.name for p in paths.collected("anime").rglob("*")}
    assert collected(silent)[0] != text
    assert {p.name for p in paths.collected("anime").rglob("*")} == before


def test_a_folder_called_like_the_drawn_ones_is_not_drawn(here: Path) -> None:
    folder = own(here, {"1.png": 1, "2.png": 2}).rename(here / "synthetic")
    text, _ = collected(with_source("anime", paths=(str(folder),), size=64))
    assert "\n- synthetic, SHA-256 `" in text and "people who did not agree" in text


def test_what_is_drawn_has_nobody_in_it(here: Path) -> None:
    text, read = collected(with_source("iclevr", count=40, size=16, supersample=1))
    assert "120 images" in text and "They come from 40 pictures or scenes" in text
    assert "40 scenes of the seed 0" in text and "There is nobody to be taken out." in text
    objects = {f"{colour} {shape}" for shape in SHAPES for colour in COLOURS}
    assert objects <= {row[0] for row in rows(read.text)}
    text, read = collected(with_source("captions", count=96, size=16, supersample=1))
    assert "96 images" in text and "96 sentences" in text
    assert read.data.task_categories == ["text-to-image"]


def board(params: Params, source: str, **values: Any) -> tuple[str, DatasetCard]:
    """A card of faces, without looking for any."""
    folder, downloaded = paths.collected("faces"), paths.downloaded("faces")
    write_png(folder / "crops" / "a_0.png", np.zeros((64, 64, 3), np.uint8))
    write_png(folder / "crops" / "a_1.png", np.zeros((64, 64, 3), np.uint8))
    decisions = ["kept", "kept", *RULES, "duplicate", "excluded", "excluded"]
    write_csv(folder / "decisions.csv", [{"face": 0, "decision": one} for one in decisions])
    downloaded.mkdir(parents=True, exist_ok=True)
    write_lines(downloaded / "manifest.jsonl", [{"address": "x"}])
    (downloaded / "failed.txt").write_text("y\tHTTP 404\nz\trobots.txt forbids\n")
    crawl = dataclasses.replace(params.crawl, source=source)
    params = dataclasses.replace(params, crawl=crawl)
    made = params.values("source") | params.deciding("crawl", "download") | values
    files = sorted((folder / "crops").glob("*.png"))
    found = Collected(files, ["a", "a"], np.zeros((2, 0), np.uint8), True)
    card.write(params, folder, Found(made), found)
    return paths.card("faces").read_text("utf-8"), DatasetCard.load(paths.card("faces"))


def test_a_real_board_says_its_days_its_opt_outs_and_its_risks(here: Path) -> None:
    params = saying(load_params("faces", COMMITTED), contact="me@example.com")
    text, read = board(params, "https://www.ptt.cc")
    assert "The board Beauty of https://www.ptt.cc." in text
    assert (
        "2022-01-01 to 2023-12-31" in text and "When the images were fetched is not noted" in text
    )
    cells = rows(read.text)
    assert ["fetched", "1"] in cells and ["robots.txt forbids", "1"] in cells
    assert ["excluded", "2", "named in exclude.txt"] in cells
    assert ["small", "1", "narrower than source.min_box = 80.0"] in cells
    assert "was not taken" in text and "one board's authors" in text and "(hog)" in text
    assert "Write to me@example.com. " in text
    assert "They come from 1 pictures or scenes" in text
    ignored, _ = board(params, "https://www.ptt.cc", **{"download.respect_opt_outs": False})
    assert "was taken (`download.respect_opt_outs` was false)" in ignored


def test_the_replica_is_nobody(here: Path) -> None:
    text, _ = board(load_params("faces", COMMITTED), "replica")
    assert "replica of a web board" in text and "600 articles of the seed 0" in text
    assert "nobody in them" in text and "minors" not in text


def test_every_decision_has_words() -> None:
    assert {*RULES, "duplicate", "faceless", "excluded"} == _MEANINGS["ptt"].keys()
    assert _MEANINGS["photos"].keys() - _MEANINGS["ptt"].keys() == {"copy", "broken", "refused"}
    assert set(folders.ORDER) - {folders.KEPT} == _MEANINGS["folder"].keys()


def test_a_damaged_table_is_named(here: Path) -> None:
    paths.collected("anime").mkdir(parents=True)
    (paths.collected("anime") / "decisions.csv").write_text("decision,x\nkept\n")
    with pytest.raises(LockstepError, match=r"decisions\.csv: damaged"):
        decided(paths.collected("anime"), "folder")


def test_packing_takes_no_notice_of_the_card(here: Path) -> None:
    params = with_source("anime", paths=(str(own(here, {"1.png": 1, "2.png": 2})),), size=64)
    collected(params)
    folder = paths.collected("anime")
    with_card = source_of(params).read(folder)
    assert paths.card("anime").exists()
    paths.card("anime").unlink()
    without = source_of(params).read(folder)
    assert (with_card.images, with_card.groups) == (without.images, without.groups)
    assert not with_card.carried


# --- params.yaml


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"license": "CC BY 4.0"}, "faces.card.license: string should match pattern"),
        ({"contact": ""}, "faces.card.contact: string should have at least 1 character"),
        ({"consent": True}, "faces.card.consent: input should be a valid string"),
        ({"licence": "cc0-1.0"}, "faces.card.licence: unknown parameter"),
    ],
)
def test_a_bad_field_is_one_line(values: dict[str, Any], said: str) -> None:
    document = read_yaml(COMMITTED)
    document["faces"]["card"] = values
    with pytest.raises(LockstepError, match=re.escape(said)) as refused:
        parse_params(document, "faces")
    assert "\n" not in str(refused.value)


def test_fields_are_a_workloads_own_and_decide_no_image() -> None:
    document = read_yaml(COMMITTED)
    document["card"]["contact"] = "all@example.com"
    document["faces"]["card"] = {"license": "other"}
    said = parse_params(document, "faces").card
    assert (said.license, said.contact, said.rights) == ("other", "all@example.com", None)
    assert parse_params(document, "anime").card.license is None


# --- Markdown


@given(st.text(max_size=30))
def test_any_name_is_text_in_a_cell(name: str) -> None:
    line = table(("class", "images"), [(plain(name) or "x", "1")])
    html = MarkdownIt("commonmark", {"html": True}).enable("table").render(line)
    assert html.count("<tr>") == 2 and html.count("<td") == 2
    assert not re.search(r"<(?!/?(table|thead|tbody|tr|th|td)\b)", html)


def test_the_page_shows_it_and_runs_nothing_of_it(here: Path) -> None:
    assert on_the_page("anime") is None
    folder = own(here, {"1.png": 1, "2.png": 2})
    odd = "<script>alert(1)</script> [x](javascript:alert(1)) ![y](https://a.example/z.png)"
    collected(saying(with_source("anime", paths=(str(folder),), size=64), rights=odd))
    html = str(on_the_page("anime"))
    assert "<h3>anime</h3>" in html and "<h4>How many</h4>" in html and "<table>" in html
    assert "pretty_name" not in html  # the front matter
    assert "<script" not in html and "<img" not in html and 'href="javascript' not in html


def test_a_card_that_is_no_text_is_named(here: Path) -> None:
    paths.collected("anime").mkdir(parents=True)
    paths.card("anime").write_bytes(b"\xff\xfe")
    with pytest.raises(LockstepError, match=r"card\.md: damaged"):
        on_the_page("anime")
