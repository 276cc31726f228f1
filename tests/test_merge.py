"""Images of any kind merged into one set: every file ends in it, or has its reason."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
import os
import random
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from collecting import contents, silent
from lockstep.config.load import load_params, parse_params, read_yaml
from lockstep.config.sources import Merged as Settings
from lockstep.core import hashing
from lockstep.core.errors import LockstepError
from lockstep.sources import exclude, image_folder
from lockstep.sources.exclude import Exclusions
from lockstep.sources.folders import merge as module
from lockstep.sources.folders.decide import (
    ASPECT,
    BLANK,
    BROKEN,
    COPY,
    DUPLICATE,
    EXCLUDED,
    KEPT,
    REFUSED,
    SMALL,
    Row,
    decide,
)
from lockstep.sources.folders.merge import Merged, merge
from lockstep.sources.folders.read import Measures, ReadSettings, read_image
from lockstep.sources.folders.unpack import Source
from lockstep.sources.image_folder import Heads, verified_sources
from lockstep.sources.registry import source_of
from lockstep.sources.resume_cache import open_cache
from lockstep.synthetic.heads import files
from odd_files import by_opencv, by_pillow, encoded, head, others

ROOT = Path(__file__).parent.parent
READING = ReadSettings(size=64, max_pixels=10**7)
RULES = Settings(
    type="folder",
    paths=("synthetic",),
    sha256=(),
    size=64,
    min_side=64,
    max_aspect=2.0,
    min_contrast=12.0,
    duplicate_bits=24,
)
NOTHING = Exclusions(frozenset())
HEADS = Heads(count=120, seed=0)


def run(
    sources: list[Source],
    out: Path,
    database: Path,
    *,
    rules: Settings = RULES,
    exclusions: Exclusions = NOTHING,
    processes: int = 1,
) -> Merged:
    out.mkdir(parents=True)
    with open_cache(database) as seen:
        return merge(sources, out, seen, READING, rules, exclusions, 10**7, processes, silent)


def table(out: Path) -> list[dict[str, str]]:
    with (out / "decisions.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


# --- the drawn archives --------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Done:
    sources: list[Source]
    out: Path
    database: Path
    found: Merged


@pytest.fixture(scope="module")
def merged(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """The drawn archives and what came of them. Shared: do not change it."""
    root = tmp_path_factory.mktemp("merged")
    sources = HEADS.sources(root / "drawn", 1, silent)
    found = run(sources, root / "out", root / "journal.db")
    return Done(sources, root / "out", root / "journal.db", found)


def test_the_right_images_are_kept(merged: Done) -> None:
    score = HEADS.precision_and_recall(merged.found)
    known = files(HEADS.count, HEADS.seed)
    clothes = sum(file.what == "clothes" for file in known)
    assert merged.found.kept == HEADS.count + clothes
    assert score == {"precision": HEADS.count / (HEADS.count + clothes), "recall": 1.0}
    truth = {(f"synthetic/{file.archive}", file.path): file.what for file in known}
    for row in table(merged.out):
        what = truth[row["source"], row["path"]]
        if what in (SMALL, ASPECT, BLANK, BROKEN):
            assert row["decision"] == what
    assert len(merged.found.rows) == len(known)


def test_a_person_takes_out_what_no_rule_finds(merged: Done, tmp_path: Path) -> None:
    clothes = {
        (f"synthetic/{file.archive}", file.path)
        for file in files(HEADS.count, HEADS.seed)
        if file.what == "clothes"
    }
    rows = [row for row in table(merged.out) if (row["source"], row["path"]) in clothes]
    lines = [f"{row['source']}:{row['path']}" for row in rows[::2]]
    lines += [row["sha256"] for row in rows[1::2]]
    (tmp_path / "exclude.txt").write_text("".join(f"{line}  # clothes\n" for line in lines))
    exclusions = exclude.read(tmp_path / "exclude.txt")
    found = run(merged.sources, tmp_path / "out", merged.database, exclusions=exclusions)
    assert HEADS.precision_and_recall(found) == {"precision": 1.0, "recall": 1.0}
    assert found.kept == HEADS.count
    assert not (tmp_path / "out/sheets/excluded.png").exists()


def test_every_file_has_its_row_and_every_kept_one_its_image(merged: Done) -> None:
    rows = table(merged.out)
    assert {row["decision"] for row in rows} == {
        KEPT, BROKEN, SMALL, ASPECT, BLANK, COPY, DUPLICATE,
    }  # fmt: skip
    kept = [int(row["number"]) for row in rows if row["decision"] == KEPT]
    assert kept == list(range(1, merged.found.kept + 1))
    assert {path.name for path in (merged.out / "images").iterdir()} == {
        f"{number}.png" for number in kept
    }
    sizes = {}
    for row in rows:
        if row["decision"] == KEPT:
            sizes[row["number"]] = int(row["width"])
            with Image.open(merged.out / f"images/{row['number']}.png") as image:
                assert (image.size, image.mode) == ((64, 64), "RGB")
    for row in rows:
        if row["decision"] in (COPY, DUPLICATE):
            assert int(row["width"]) <= sizes[row["number"]], "the largest is kept"
        elif row["decision"] != KEPT:
            assert row["number"] == ""
        assert (row["why"] != "") == (row["decision"] == BROKEN)
    sheets = {path.stem for path in (merged.out / "sheets").iterdir()}
    assert sheets == {KEPT, SMALL, ASPECT, BLANK, COPY, DUPLICATE}


def repacked(source: Source, folder: Path, seed: int) -> Source:
    """The same files in another order."""
    members: list[tuple[str, bytes]] = []
    if zipfile.is_zipfile(source.path):
        with zipfile.ZipFile(source.path) as archive:
            members = [(name, archive.read(name)) for name in archive.namelist()]
        random.Random(seed).shuffle(members)
        path = folder / "again.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in members:
                archive.writestr(name, data)
        return Source(source.name, path)
    with tarfile.open(source.path) as tar:
        for info in tar:
            file = tar.extractfile(info)
            assert file is not None
            members.append((info.name, file.read()))
    random.Random(seed).shuffle(members)
    # A folder instead, whose files come into being in that order.
    for name, data in members:
        path = folder / "again" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return Source(source.name, folder / "again")


def test_neither_order_nor_container_nor_processes_matter(merged: Done, tmp_path: Path) -> None:
    again = [repacked(source, tmp_path, 1) for source in merged.sources]
    run(again, tmp_path / "out", tmp_path / "journal.db", processes=2)
    assert contents(tmp_path / "out") == contents(merged.out)


def test_nothing_is_decoded_twice(
    merged: Done, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def twice(batch: object, settings: object) -> list[str]:
        raise AssertionError

    monkeypatch.setattr(module, "read_batch", twice)
    stricter = dataclasses.replace(RULES, min_side=100)
    found = run(merged.sources, tmp_path / "out", merged.database, rules=stricter)
    assert 0 < found.kept < merged.found.kept
    run(merged.sources, tmp_path / "again", merged.database)
    assert contents(tmp_path / "again") == contents(merged.out)


_KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from collecting import silent
from test_merge import HEADS, run
sources = HEADS.sources(Path(sys.argv[2]), 1, silent)
print("ready", flush=True)
run(sources, Path(sys.argv[3]), Path(sys.argv[4]))
"""


def test_killed_and_run_again_it_gives_the_same(merged: Done, tmp_path: Path) -> None:
    tests = str(Path(__file__).parent)
    drawn = merged.sources[0].path.parent.parent
    database = tmp_path / "journal.db"
    arguments = [tests, str(drawn), str(tmp_path / "killed"), str(database)]
    with subprocess.Popen(
        [sys.executable, "-c", _KILLED, *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), tests])},
        stdout=subprocess.PIPE,
    ) as running:
        assert running.stdout is not None
        running.stdout.readline()
        deadline = time.monotonic() + 30
        while not database.exists() and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(0.1)
        running.send_signal(signal.SIGKILL)
    run(merged.sources, tmp_path / "out", database)
    assert contents(tmp_path / "out") == contents(merged.out)


# --- images of all sorts -----------------------------------------------------------------


def test_every_file_of_a_folder_ends_in_the_set_or_has_a_reason(tmp_path: Path) -> None:
    given_files = {**by_pillow(), **by_opencv(), **others()}
    folder = tmp_path / "in"
    for number, (name, data) in enumerate(given_files.items()):
        path = folder / f"{number % 3}" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    (folder / "link.png").symlink_to(tmp_path / "elsewhere.png")
    found = run([Source("in", folder)], tmp_path / "out", tmp_path / "journal.db")
    rows = {row["path"].split("/")[-1]: row for row in table(tmp_path / "out")}
    assert rows.keys() == {*given_files, "link.png"}
    assert len(given_files) > 90
    became = {name: row["decision"] for name, row in rows.items()}
    assert became["link.png"] == REFUSED
    expected = {
        "truncated.jpg": BROKEN,
        "one pixel.png": SMALL,
        "strip.png": ASPECT,
        "blank.png": BLANK,
        "empty.png": BROKEN,
        "Thumbs.db": BROKEN,
        "page.jpg": BROKEN,
        "bomb.png": BROKEN,
        "near copy.webp": KEPT,
        "turned.jpg": KEPT,
        "animation.gif": KEPT,
        "long name.of a.image.jpeg.png": KEPT,
    }
    assert {name: became[name] for name in expected} == expected
    copies = ("exact copy.jpg", "exact copy again.jpg")
    assert {became[name] for name in copies} == {COPY, DUPLICATE}
    assert rows["bomb.png"]["why"] == "more pixels than download.max_pixels"
    assert rows["exact copy again.jpg"]["number"] == rows["near copy.webp"]["number"]
    common = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "PPM", "JPEG2000")
    for name, what in became.items():
        if name.split("-")[0] in common and name not in expected:
            # Pillow writes 16 bits as white where the format has only 8.
            assert what == KEPT or ("-I" in name and what == BLANK), name
    unreadable = {rows[name]["why"] for name, what in became.items() if what == BROKEN}
    assert unreadable == {
        "empty", "an HTML page", "no image of a known format", "truncated or damaged",
        "more pixels than download.max_pixels",
    }  # fmt: skip
    assert found.kept == len(list((tmp_path / "out/images").iterdir()))


def close(png: bytes, drawn: NDArray[np.uint8]) -> float:
    bgr = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    small = np.asarray(Image.fromarray(drawn).resize((64, 64), Image.Resampling.BICUBIC))
    return float(np.abs(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB).astype(int) - small).mean())


def test_images_come_upright_square_and_in_their_colours() -> None:
    drawn = head(1, 150)
    turned = Image.Exif()
    turned[0x0112] = 6
    aside = np.ascontiguousarray(np.rot90(drawn))
    assert close(read_image(encoded(aside, "JPEG", exif=turned.tobytes()), READING).png, drawn) < 4
    assert close(read_image(encoded(drawn), READING).png, drawn) == 0
    framed = cv2.copyMakeBorder(drawn, 0, 0, 30, 30, cv2.BORDER_CONSTANT)
    assert close(read_image(encoded(framed), READING).png, drawn) == 0
    cmyk = io.BytesIO()
    Image.fromarray(drawn).convert("CMYK").save(cmyk, "JPEG", quality=95)
    assert close(read_image(cmyk.getvalue(), READING).png, drawn) < 4
    large = head(1, 1100)  # a JPEG that is decoded at a quarter
    seen = read_image(encoded(large, "JPEG", quality=95), READING)
    assert close(seen.png, large) < 3
    assert seen.measures is not None
    assert (seen.measures.width, seen.measures.height) == (1100, 1100)
    clear = np.dstack([drawn, np.full((150, 150), 0, np.uint8)])
    white = read_image(encoded(clear), READING)
    assert white.measures is not None
    assert white.measures.contrast == 0


@settings(max_examples=80, deadline=None)
@given(st.binary(max_size=300), st.integers(0, 5000), st.integers(0, 255))
def test_no_bytes_break_the_reading(tail: bytes, at: int, byte: int) -> None:
    data = bytearray(encoded(head(3, 64)))
    data[at % len(data)] = byte
    for damaged in (bytes(data), bytes(data[:at]) + tail, tail):
        seen = read_image(damaged, READING)
        assert (seen.measures is None) == (seen.broken != "")


# --- decisions -----------------------------------------------------------------------------


def test_archives_and_folders_are_one_set(tmp_path: Path) -> None:
    """A copy across sources, a nested archive, and a name that leads out."""
    folder = tmp_path / "b"
    folder.mkdir()
    (folder / "a.png").write_bytes(encoded(head(1)))
    (folder / "c.png").write_bytes(encoded(head(2, 64)))
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("x/1.jpg", encoded(head(1), "JPEG", quality=90))
        archive.writestr("../2.jpg", encoded(head(3), "JPEG"))
        inner = io.BytesIO()
        with zipfile.ZipFile(inner, "w") as nested:
            nested.writestr("3.webp", encoded(head(2, 128), "WEBP"))
        archive.writestr("in.zip", inner.getvalue())
    sources = [Source("a.zip", tmp_path / "a.zip"), Source("b", folder)]
    run(sources, tmp_path / "out", tmp_path / "j.db")
    rows = [(r["source"], r["path"], r["decision"], r["number"]) for r in table(tmp_path / "out")]
    assert rows == [
        ("a.zip", "../2.jpg", REFUSED, ""),
        ("a.zip", "in.zip!/3.webp", KEPT, "1"),
        ("a.zip", "x/1.jpg", KEPT, "2"),
        ("b", "a.png", DUPLICATE, "2"),
        ("b", "c.png", DUPLICATE, "1"),
    ]
    with pytest.raises(LockstepError, match="the same one twice"):
        run([sources[0], sources[0]], tmp_path / "twice", tmp_path / "j.db")


def test_an_empty_result_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with pytest.raises(LockstepError, match=r"no image is kept of 0 files \(the sources are e"):
        run([Source("in", tmp_path / "in")], tmp_path / "out", tmp_path / "j.db")
    (tmp_path / "in/a.png").write_bytes(encoded(head(1, 20)))
    with pytest.raises(LockstepError, match=r"of 1 files \(small 1\); .* source\.\*") as error:
        run([Source("in", tmp_path / "in")], tmp_path / "again", tmp_path / "j.db")
    assert "\n" not in str(error.value)


def row(name: str, side: int = 100, looks: int = 0, out: bool = False, **change: Any) -> Row:
    sha256 = hashlib.sha256(change.pop("data", name).encode()).hexdigest()
    bits = hashlib.sha256(str(looks // 100).encode()).digest()
    near = bytes([bits[0] ^ (looks % 100), *bits[1:]]).hex()
    measures = Measures(
        **{"width": side, "height": side, "contrast": 50.0, "perceptual_hash": near} | change
    )
    return Row(0, "s", name, sha256, measures, "", out)


def whats(*rows: Row) -> list[tuple[str, int | None]]:
    return [(decision.what, decision.number) for decision in decide(rows, RULES)]


def test_one_of_each_image_is_kept_the_largest() -> None:
    rows = [row("a", looks=100), row("b", 200, looks=101), row("c", looks=200)]
    assert whats(*rows) == [(DUPLICATE, 1), (KEPT, 1), (KEPT, 2)]
    assert whats(row("a"), row("b")) == [(KEPT, 1), (DUPLICATE, 1)]
    same = [row("a", data="x"), row("b", 300), row("c", data="x")]
    assert whats(*same) == [(DUPLICATE, 1), (KEPT, 1), (COPY, 1)]


def test_a_copy_does_not_take_the_place_of_an_excluded_image() -> None:
    rows = [row("a", data="x"), row("b", data="x", out=True), row("c", 300, 1), row("d", looks=200)]
    assert whats(*rows) == [(EXCLUDED, None)] * 3 + [(KEPT, 1)]
    again = [row("a", out=True), row("b", data="y", looks=1), row("c", data="y", looks=1)]
    assert whats(*again, row("d", looks=200)) == [(EXCLUDED, None)] * 3 + [(KEPT, 1)]


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"width": 63}, SMALL),
        ({"width": 64, "height": 128}, KEPT),
        ({"width": 64, "height": 129}, ASPECT),
        ({"contrast": 11.9}, BLANK),
    ],
)
def test_each_rule(change: dict[str, Any], what: str) -> None:
    assert decide([row("a", **change)], RULES)[0].what == what


def test_exclusions_are_read(tmp_path: Path) -> None:
    path = tmp_path / "exclude.txt"
    path.write_text("synthetic/heads64.zip:heads/1 a.png # clothes\na b:c!/d.png\n")
    assert exclude.read(path).entries == {"synthetic/heads64.zip:heads/1 a.png", "a b:c!/d.png"}


def test_each_stage_misses_only_what_it_could_know(tmp_path: Path) -> None:
    path = tmp_path / "exclude.txt"
    merged, digest = "synthetic/heads96.zip:1.png", "ab" * 32
    crawled = {"https://i.imgur.com/AbCdEfG.jpg", "M.1700000000.A.1B2", "someone"}
    path.write_text("\n".join([merged, digest, *crawled]))
    exclusions = exclude.read(path)
    assert exclusions.of_merges().entries == {merged, digest}
    assert exclusions.of_downloads().entries == {digest, *crawled}


def test_an_entry_that_names_no_file_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    for number in range(2):
        (tmp_path / f"in/{number}.png").write_bytes(encoded(head(number)))
    named = Exclusions(frozenset({"in:0.png", "in:2.png"}))
    sources = [Source("in", tmp_path / "in")]
    assert run(sources, tmp_path / "out", tmp_path / "journal.db", exclusions=named).kept == 1
    assert capsys.readouterr().err == (
        "exclude.txt: 'in:2.png' matches nothing among the merged files\n"
    )


# --- the stage -----------------------------------------------------------------------------


def test_sources_are_held_against_their_hashes(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"x")
    digest = hashing.sha256(tmp_path / "a.zip")
    drawn = [Source("synthetic/a", tmp_path), Source("synthetic/b", tmp_path)]
    found = verified_sources(("a.zip", "synthetic"), (), tmp_path, lambda: drawn)
    assert found == ([Source("a.zip", tmp_path / "a.zip"), *drawn], [digest, None])
    assert found == verified_sources(
        ("a.zip", "synthetic"), (digest, None), tmp_path, lambda: drawn
    )
    with pytest.raises(LockstepError, match=f"is not what source.sha256 says.*{digest}"):
        verified_sources(("a.zip",), ("0" * 64,), tmp_path, lambda: drawn)
    with pytest.raises(LockstepError, match=r"b: no such file or folder; see source\.paths"):
        verified_sources(("b",), (), tmp_path, lambda: drawn)


def test_collecting_and_collecting_that_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    committed = load_params("anime", ROOT / "params.yaml")
    settings = dataclasses.replace(committed.source, synthetic_count=30)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.setattr(image_folder, "cores", lambda: 1)
    (tmp_path / "exclude.txt").touch()
    out, again = tmp_path / "out", tmp_path / "again"
    for folder in (out, again):
        folder.mkdir()
    params = dataclasses.replace(committed, source=settings)
    found = source_of(params).collect(params, out)
    assert found.metrics.keys() == {"kept", "found", "precision", "recall"}
    assert found.metrics["kept"] == len(source_of(params).read(out).images)
    assert found.params["source.paths"] == ["synthetic"]
    assert found.params["source.sha256"] == [None]

    # Of what was merged, again, from outside.
    outside = dataclasses.replace(settings, paths=("out/images",))
    params = dataclasses.replace(committed, source=outside)
    second = source_of(params).collect(params, again)
    assert second.metrics == {"kept": found.metrics["kept"], "found": found.metrics["kept"]}
    assert second.params["source.sha256"] == [hashing.sha256(out / "images")]


def test_the_number_of_hashes_is_checked() -> None:
    document = read_yaml(ROOT / "params.yaml")
    document["anime"]["source"]["sha256"] = ["0" * 64, None]
    with pytest.raises(LockstepError, match=r"source\.sha256: 2 hashes for 1 paths"):
        parse_params(document, "anime")


def test_what_is_found_is_counted(merged: Done) -> None:
    known = Counter(file.what for file in files(HEADS.count, HEADS.seed))
    found = Counter(row["decision"] for row in table(merged.out))
    assert found[COPY] == known["copy"]
    assert found[DUPLICATE] == known["near duplicate"]
