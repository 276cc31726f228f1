"""Faces found, chosen and cut out: of annotated synthetic images, and of a photograph."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import cv2
import matplotlib.cbook
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageFile

from collecting import contents, silent
from lockstep.config.sources import Ptt
from lockstep.core.errors import LockstepError
from lockstep.core.processes import each
from lockstep.evaluation import dlib_embedding
from lockstep.models.dlib_faces import embedding, engine
from lockstep.models.dlib_faces.engine import Box
from lockstep.sources import exclude
from lockstep.sources.exclude import Exclusions
from lockstep.sources.faces import collect as faces
from lockstep.sources.faces.collect import Collection
from lockstep.sources.faces.decide import (
    DUPLICATE,
    EXCLUDED,
    KEPT,
    RULES,
    Candidate,
    broken_rule,
    decide,
)
from lockstep.sources.faces.detect import (
    DetectedFace,
    DetectionSettings,
    Measures,
    detect_faces,
    detect_in_file,
    faces_from_text,
)
from lockstep.sources.faces.score import score
from lockstep.sources.ptt_faces import collect_downloaded
from lockstep.sources.resume_cache import open_cache
from lockstep.synthetic.portraits import Face, annotated_faces, draw, image
from lockstep.synthetic.portraits.plans import kind_of

RULES_HERE = Ptt(
    type="ptt",
    detector="hog",
    megapixels=None,
    size=64,
    min_box=80,
    max_slope=0.1,
    eye_ratio=(0.37, 0.51),
    nose=(0.3, 0.7),
    max_outside=0.2,
    min_sharpness=35,
    max_cover=15,
    max_tint=65,
    min_score=0.2,
    duplicate_bits=32,
)
DETECTION = DetectionSettings.of(RULES_HERE, max_pixels=10**8)
NOTHING = Exclusions(frozenset())
DRAWN = range(160)


def add(folder: Path, data: bytes, address: str, article: str = "M.1.A.1") -> str:
    """Put a file into a download folder; gives its hash."""
    sha256 = hashlib.sha256(data).hexdigest()
    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / f"images/{sha256}.jpg").write_bytes(data)
    row = {
        "address": address,
        "file": f"images/{sha256}.jpg",
        "sha256": sha256,
        "size": len(data),
        "named_by": [{"article": article, "place": "body", "author": "someone"}],
    }
    with (folder / "manifest.jsonl").open("a") as file:
        file.write(json.dumps(row) + "\n")
    return sha256


@dataclasses.dataclass(frozen=True)
class Download:
    folder: Path
    annotations: dict[str, tuple[Face, ...]]


def download(folder: Path, indices: Iterable[int]) -> Download:
    known = {
        add(folder, image(index).data, f"https://images.example/{index}.jpg"): annotated_faces(
            0, index
        )
        for index in indices
    }
    return Download(folder, known)


def run(
    downloaded: Path,
    out: Path,
    database: Path,
    *,
    rules: Ptt = RULES_HERE,
    exclusions: Exclusions = NOTHING,
    processes: int = 1,
) -> Collection:
    out.mkdir(parents=True)
    with open_cache(database) as seen:
        return collect_downloaded(
            downloaded, out, seen, DETECTION, rules, exclusions, processes, silent
        )


def part_of(downloaded: Path, folder: Path, choose: Callable[[list[str]], list[str]]) -> Path:
    """The same images with some of the manifest's lines."""
    folder.mkdir()
    (folder / "images").symlink_to(downloaded / "images")
    lines = choose((downloaded / "manifest.jsonl").read_text().splitlines())
    (folder / "manifest.jsonl").write_text("\n".join(lines) + "\n")
    return folder


@dataclasses.dataclass(frozen=True)
class Done:
    download: Download
    out: Path
    database: Path
    found: Collection


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """The drawn images and what came of them. Shared: do not change it."""
    root = tmp_path_factory.mktemp("done")
    downloaded = download(root / "downloaded", DRAWN)
    found = run(downloaded.folder, root / "out", root / "journal.db")
    return Done(downloaded, root / "out", root / "journal.db", found)


# --- the whole -----------------------------------------------------------------------------


def test_the_right_faces_are_kept(done: Done) -> None:
    found = done.found
    shares = score(found.faces, found.decisions, done.download.annotations)
    assert shares["precision"] >= 0.95  # Drawings are kept: no rule tells them.
    assert shares["recall"] >= 0.95
    assert set(found.decisions) >= {KEPT, DUPLICATE, "tilted", "blurred", "covered"}
    recalls = {name: share for name, share in shares.items() if name.startswith("recall_")}
    assert len(recalls) == 5
    assert min(recalls.values()) >= 0.75
    for why in ("tilted", "turned", "blurred", "masked", "small"):
        assert shares[f"kept_{why}"] == 0


@pytest.mark.parametrize(
    ("rule", "figure"),
    [
        ({"min_sharpness": 200.0}, "recall"),
        ({"max_slope": 0.02}, "recall"),
        ({"min_box": 200.0}, "recall"),
        ({"eye_ratio": (0.44, 0.51)}, "recall"),
        ({"nose": (0.48, 0.52)}, "recall"),
        ({"max_cover": 2.0}, "recall"),
        ({"max_tint": 5.0}, "recall"),
        ({"min_sharpness": 0.0}, "kept_blurred"),
        ({"max_slope": 1.0}, "kept_tilted"),
        ({"nose": (-9.0, 9.0)}, "kept_turned"),
        ({"max_cover": 999.0}, "kept_masked"),
    ],
    ids=str,
)
def test_a_wrong_rule_shows_in_the_figures(done: Done, rule: dict[str, Any], figure: str) -> None:
    faces, known = done.found.faces, done.download.annotations
    right = score(faces, done.found.decisions, known)
    wrong = score(faces, decide(faces, dataclasses.replace(RULES_HERE, **rule)), known)
    if figure == "recall":
        assert wrong["recall"] < right["recall"] - 0.01
    else:
        assert wrong[figure] > right[figure] == 0


def test_every_face_has_its_row_and_every_kept_one_its_crop(done: Done) -> None:
    with (done.out / "decisions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    faceless = [row for row in rows if row["decision"] == "faceless"]
    assert len(rows) - len(faceless) == len(done.found.faces)
    shown = {row["image"] for row in rows}
    assert shown == set(done.download.annotations) and len(faceless) > 0
    assert not {row["image"] for row in faceless} & {face.sha256 for face in done.found.faces}
    kept = {f"{row['image']}_{row['face']}.png" for row in rows if row["decision"] == KEPT}
    assert {path.name for path in (done.out / "crops").iterdir()} == kept
    assert len(kept) == done.found.kept
    assert all(row["address"].startswith("https://images.example/") for row in rows)
    for name in kept:
        with Image.open(done.out / "crops" / name) as crop:
            assert crop.size == (64, 64)
            assert crop.mode == "RGB"
    sheets = {path.stem for path in (done.out / "sheets").iterdir()}
    assert sheets == {row["decision"] for row in rows} - {"faceless"}


def test_all_faces_of_a_crowd_are_found(done: Done) -> None:
    kept = [
        face.sha256
        for face, decision in zip(done.found.faces, done.found.decisions, strict=True)
        if decision == KEPT
    ]
    crowds = [known for known in done.download.annotations.items() if len(known[1]) > 1]
    right = sum(kept.count(sha256) for sha256, _ in crowds)
    assert right >= 0.9 * sum(face.keep for _, known in crowds for face in known)
    assert max(kept.count(sha256) for sha256, _ in crowds) >= 3


def test_neither_order_nor_processes_matter(done: Done, tmp_path: Path) -> None:
    whole = done.download.folder
    first = part_of(whole, tmp_path / "a", lambda lines: lines[:40])
    other = part_of(whole, tmp_path / "b", lambda lines: random.Random(1).sample(lines[:40], 40))
    run(first, tmp_path / "out_a", done.database)
    run(other, tmp_path / "out_b", tmp_path / "b.db", processes=2)
    assert contents(tmp_path / "out_a") == contents(tmp_path / "out_b")


def test_nothing_is_looked_at_twice(
    done: Done, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def twice(file: tuple[str, Path], settings: DetectionSettings) -> str:
        raise AssertionError(file)

    monkeypatch.setattr(faces, "detect_in_file", twice)
    stricter = dataclasses.replace(RULES_HERE, min_sharpness=400)
    found = run(done.download.folder, tmp_path / "out", done.database, rules=stricter)
    assert 0 < found.kept < done.found.kept
    again = run(done.download.folder, tmp_path / "again", done.database)
    assert again == done.found
    assert contents(tmp_path / "again") == contents(done.out)


_KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_faces import run
run(Path(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[4]), processes=2)
"""


def children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in found]


def test_killed_and_run_again_it_goes_on(done: Done, tmp_path: Path) -> None:
    tests = str(Path(__file__).parent)
    database = tmp_path / "journal.db"
    folder = part_of(done.download.folder, tmp_path / "part", lambda lines: lines[:60])
    arguments = [tests, folder, tmp_path / "killed", database]
    path = os.pathsep.join([str(Path(tests).parent / "src"), tests])
    running = subprocess.Popen(
        [sys.executable, "-c", _KILLED, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": path},
    )
    everything = list(done.download.annotations)[:60]

    def seen() -> list[str]:
        if not database.exists():
            return []
        with open_cache(database) as entries:
            return [sha256 for sha256 in everything if entries.get(sha256) is not None]

    deadline = time.monotonic() + 60
    while len(seen()) < 10:
        assert running.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    workers = children(running.pid)
    running.send_signal(signal.SIGKILL)
    running.wait()
    before = seen()
    assert 10 <= len(before) < len(everything)
    assert not (tmp_path / "killed" / "decisions.csv").exists()
    while any(Path(f"/proc/{worker}").exists() for worker in workers):
        assert time.monotonic() < deadline, "the workers outlive their parent"
        time.sleep(0.05)

    looked: list[str] = []

    def counted(file: tuple[str, Path], settings: DetectionSettings) -> str:
        looked.append(file[0])
        return detect_in_file(file, settings)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(faces, "detect_in_file", counted)
        run(folder, tmp_path / "out", database)
    assert sorted(looked) == sorted(set(everything) - set(before))
    run(folder, tmp_path / "whole", done.database)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


# --- errors --------------------------------------------------------------------------------


def of_kind(kind: str, count: int = 1) -> list[int]:
    return [index for index in range(1000) if kind_of(0, index) == kind][:count]


def test_an_empty_result_is_an_error(tmp_path: Path) -> None:
    downloaded = download(tmp_path / "downloaded", of_kind("nobody", 2) + of_kind("blurred"))
    with pytest.raises(LockstepError, match=r"no face is kept of \d+ in 3 images .*source\.") as e:
        run(downloaded.folder, tmp_path / "out", tmp_path / "journal.db")
    assert "\n" not in str(e.value)
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "manifest.jsonl").touch()
    with pytest.raises(LockstepError, match="lists no image"):
        run(empty, tmp_path / "out2", tmp_path / "journal2.db")


def test_a_file_damaged_since_is_named(tmp_path: Path) -> None:
    sha256 = add(tmp_path / "downloaded", image(2).data[:5000], "https://images.example/2.jpg")
    with pytest.raises(LockstepError, match=f"{sha256}.jpg: truncated .*dvc checkout"):
        run(tmp_path / "downloaded", tmp_path / "out", tmp_path / "journal.db")


def test_a_process_that_dies_is_told() -> None:
    with pytest.raises(LockstepError, match="died"):
        list(each(os._exit, [1], processes=2))


_IMPORT = """
import sys
from lockstep.models.dlib_faces.engine import models
from lockstep.core.errors import LockstepError
try:
    models()
except LockstepError as error:
    print("caught:", error)
    sys.exit(3)
"""


@pytest.mark.parametrize(
    ("module", "code", "message"),
    [
        # What face_recognition_models does where setuptools is too new.
        ("pkg_resources", "raise ModuleNotFoundError('no pkg_resources')", "quit while it was"),
        ("face_recognition", "raise ImportError('broken')", "cannot be imported (broken)"),
    ],
)
def test_an_import_that_quits_in_silence_is_caught(
    tmp_path: Path, module: str, code: str, message: str
) -> None:
    (tmp_path / f"{module}.py").write_text(code)
    source = str(Path(__file__).parent.parent / "src")
    done = subprocess.run(
        [sys.executable, "-c", _IMPORT],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), source])},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 3, done
    assert message in done.stdout
    assert "setuptools below 82" in done.stdout
    assert done.stdout.startswith("caught: ")
    assert done.stdout.count("\n") == 1


def test_truncated_files_stay_refused() -> None:
    engine.models()
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


# --- one face ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def astronaut() -> NDArray[np.uint8]:
    """A photograph by NASA, in the public domain."""
    data = pytest.importorskip("skimage.data")
    return np.asarray(data.astronaut())


def decoded(png: bytes) -> NDArray[np.uint8]:
    return cv2.cvtColor(cv2.imdecode(np.frombuffer(png, np.uint8), 1), cv2.COLOR_BGR2RGB)


def highest(photograph: NDArray[np.uint8]) -> DetectedFace:
    """The astronaut's face: at some sizes a badge below it passes for another, leaning one."""
    return min(detect_faces(photograph, DETECTION), key=lambda face: face.measures.box.top)


def eyes_and_nose(crop: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Landmarks of a crop as shares of its side: left eye, right eye, tip of the nose."""
    large = cv2.resize(crop, (512, 512), interpolation=cv2.INTER_CUBIC)
    grey = cv2.cvtColor(large, cv2.COLOR_RGB2GRAY)
    ((rectangle, _),) = engine.detect(grey, large, "hog")
    points = engine.landmarks(grey, rectangle)
    return np.stack([points[36:42].mean(0), points[42:48].mean(0), points[30]]) / 512


def test_a_photograph_is_kept_and_well_cropped(astronaut: NDArray[np.uint8]) -> None:
    (found,) = detect_faces(astronaut, DETECTION)
    assert broken_rule(found.measures, RULES_HERE) is None
    left, right, nose = eyes_and_nose(decoded(found.png))
    np.testing.assert_allclose(left, [0.365, 0.45], atol=0.015)
    np.testing.assert_allclose(right, [0.635, 0.45], atol=0.015)
    assert 0.45 < nose[0] < 0.55
    assert nose[1] > 0.5


def test_a_photograph_of_somebody_with_a_cap_and_glasses_is_well_cropped() -> None:
    """Rear Admiral Grace Hopper, by the US Navy, in the public domain; matplotlib brings it."""
    with matplotlib.cbook.get_sample_data("grace_hopper.jpg") as file:
        photograph = np.asarray(Image.open(file).convert("RGB"))
    (found,) = detect_faces(photograph, DETECTION)
    left, right, nose = eyes_and_nose(decoded(found.png))
    np.testing.assert_allclose([left[1], right[1]], 0.45, atol=0.03)
    assert 0.3 < left[0] < nose[0] < right[0] < 0.7


@pytest.mark.parametrize("scale", [0.8, 1.6, 4.0])
def test_the_size_of_a_image_changes_little(astronaut: NDArray[np.uint8], scale: float) -> None:
    before = highest(astronaut)
    resized = cv2.resize(astronaut, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    after = highest(resized)
    assert after.measures.box.width == pytest.approx(before.measures.box.width * scale, rel=0.2)
    assert after.measures.width == pytest.approx(before.measures.width * scale, rel=0.05)
    assert after.measures.eye_ratio == pytest.approx(before.measures.eye_ratio, rel=0.07)
    assert after.measures.slope == pytest.approx(before.measures.slope, abs=0.02)
    assert after.measures.sharpness == pytest.approx(before.measures.sharpness, rel=0.5)
    hashes = [int(one.measures.perceptual_hash, 16) for one in (before, after)]
    assert (hashes[0] ^ hashes[1]).bit_count() <= 40


def test_a_photograph_made_worse_is_rejected(astronaut: NDArray[np.uint8]) -> None:
    def reason(image: NDArray[np.uint8]) -> str | None:
        return broken_rule(highest(np.ascontiguousarray(image)).measures, RULES_HERE)

    turned = cv2.getRotationMatrix2D((223, 120), 12, 1)
    assert reason(cv2.warpAffine(astronaut, turned, (512, 512))) == "tilted"
    assert reason(cv2.GaussianBlur(astronaut, (0, 0), 3)) == "blurred"
    assert reason(astronaut[72:]) == "cut"
    small = cv2.resize(astronaut, None, fx=0.8, fy=0.8, interpolation=cv2.INTER_AREA)
    assert reason(small) == "small"


@pytest.mark.parametrize(
    ("kind", "reason"),
    [(kind, kind) for kind in ("turned", "tilted", "blurred", "tinted")]
    + [("shaken", "blurred"), ("masked", "covered")],
)
def test_drawn_faces_are_rejected_for_what_is_wrong(kind: str, reason: str) -> None:
    found: list[str | None] = []
    for index in of_kind(kind, 6):
        portrait = draw(0, index)
        found += [
            broken_rule(face.measures, RULES_HERE) for face in detect_faces(portrait, DETECTION)
        ]
    # One of these masks has nearly the colour of the skin.
    assert found.count(None) <= (kind == "masked")
    assert found.count(reason) >= 3


def test_the_cnn_finds_the_face_too(astronaut: NDArray[np.uint8]) -> None:
    part = astronaut[40:240, 120:320]
    (found,) = detect_faces(part, dataclasses.replace(DETECTION, detector="cnn"))
    (usual,) = detect_faces(part, DETECTION)
    assert found.measures.nose == pytest.approx(usual.measures.nose, abs=0.05)


def test_turned_by_exif_it_is_the_same_face(tmp_path: Path, astronaut: NDArray[np.uint8]) -> None:
    upright, lying = tmp_path / "upright.png", tmp_path / "lying.png"
    Image.fromarray(astronaut).save(upright)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(astronaut).transpose(Image.Transpose.ROTATE_90).save(lying, exif=exif)
    found = detect_in_file(("", lying), DETECTION)
    assert found == detect_in_file(("", upright.read_bytes()), DETECTION)
    assert len(faces_from_text(found)[0]) == 1


# --- decisions -----------------------------------------------------------------------------

GOOD = Measures(
    box=Box(0, 0, 200, 200),
    width=200.0,
    slope=0.02,
    eye_ratio=0.43,
    nose=0.5,
    sharpness=300.0,
    outside=0.0,
    cover=5.0,
    tint=10.0,
    score=1.5,
    perceptual_hash="00" * 32,
)


def with_hash(different_bits: int) -> str:
    return f"{(1 << different_bits) - 1:064x}"


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({}, None),
        ({"width": 79.9}, "small"),
        ({"slope": 0.101}, "tilted"),
        ({"nose": 0.29}, "turned"),
        ({"nose": 0.71}, "turned"),
        ({"eye_ratio": 0.36}, "eyes"),
        ({"eye_ratio": 0.52}, "eyes"),
        ({"outside": 0.21}, "cut"),
        ({"sharpness": 34.9}, "blurred"),
        ({"cover": 15.1}, "covered"),
        ({"tint": 65.1}, "tinted"),
        ({"score": 0.19}, "unsure"),
        ({"sharpness": 35.0, "slope": 0.1, "nose": 0.7, "width": 80.0}, None),
        ({"cover": 15.0, "tint": 65.0, "score": 0.2}, None),
    ],
)
def test_each_rule_rejects_what_breaks_it(change: dict[str, Any], rule: str | None) -> None:
    assert broken_rule(dataclasses.replace(GOOD, **change), RULES_HERE) == rule
    assert rule is None or rule in RULES


def candidate(name: str, is_excluded: bool = False, **change: Any) -> Candidate:
    return Candidate(name, 0, dataclasses.replace(GOOD, **change), is_excluded)


def test_of_copies_the_largest_then_the_sharpest_is_kept() -> None:
    large = candidate("c", width=220.0, perceptual_hash=with_hash(30))
    sharp = candidate("b", sharpness=900.0)
    other = candidate("d", perceptual_hash=with_hash(200))
    blurred = candidate("e", width=900.0, sharpness=1.0)
    expected = {"a": DUPLICATE, "b": DUPLICATE, "c": KEPT, "d": KEPT, "e": "blurred"}
    faces = [candidate("a"), sharp, large, other, blurred]
    for order in range(10):
        random.Random(order).shuffle(faces)
        decisions = decide(faces, RULES_HERE)
        assert {f.sha256: d for f, d in zip(faces, decisions, strict=True)} == expected
    apart = dataclasses.replace(RULES_HERE, duplicate_bits=0)
    assert decide([large, sharp], apart) == [KEPT, KEPT]


def test_a_copy_does_not_take_the_place_of_an_excluded_face() -> None:
    faces = [
        candidate("a", is_excluded=True),
        candidate("b", perceptual_hash=with_hash(20)),
        candidate("c", perceptual_hash=with_hash(100)),
    ]
    assert decide(faces, RULES_HERE) == [EXCLUDED, EXCLUDED, KEPT]


def as_one_by_one(faces: list[Candidate], rules: Ptt) -> list[str]:
    """`decide` as a person would do it: each face against all before it, bit by bit."""

    def near(one: Candidate, others: list[Candidate]) -> bool:
        own = int(one.measures.perceptual_hash, 16)
        differing = (own ^ int(other.measures.perceptual_hash, 16) for other in others)
        return any(bits.bit_count() <= rules.duplicate_bits for bits in differing)

    found: dict[int, str] = {}
    kept: list[Candidate] = []
    banned = [face for face in faces if face.is_excluded]
    order = sorted(
        range(len(faces)),
        key=lambda i: (
            -faces[i].measures.width,
            -faces[i].measures.sharpness,
            faces[i].sha256,
            faces[i].number,
        ),
    )
    for i in order:
        face = faces[i]
        if face.is_excluded or (rule := broken_rule(face.measures, rules)) is None:
            if face.is_excluded or near(face, banned):
                found[i] = EXCLUDED
            elif near(face, kept):
                found[i] = DUPLICATE
            else:
                found[i] = KEPT
                kept.append(face)
        else:
            found[i] = rule
    return [found[i] for i in range(len(faces))]


@given(
    st.lists(
        st.tuples(
            st.integers(0, 120), st.sampled_from([70, 100, 220]), st.booleans(), st.booleans()
        ),
        max_size=12,
    )
)
def test_decisions_are_those_of_one_by_one(drawn: list[tuple[int, int, bool, bool]]) -> None:
    faces = [
        dataclasses.replace(
            candidate(f"{i:02d}", width=float(side), perceptual_hash=with_hash(bits)),
            is_excluded=out and rarely,
        )
        for i, (bits, side, out, rarely) in enumerate(drawn)
    ]
    assert decide(faces, RULES_HERE) == as_one_by_one(faces, RULES_HERE)


def annotated(box: tuple[float, float, float, float], keep: bool, identity: str) -> Face:
    return Face(Box(*box), keep, "kept" if keep else "turned", identity, "portrait")


def test_precision_and_recall_count_photographs_once() -> None:
    here, there = (0, 0, 200, 200), (500, 500, 700, 700)
    known = {
        "a": (annotated(here, True, "1"), annotated(there, True, "2")),
        "b": (annotated(here, True, "1"),),
        "c": (annotated(here, False, "3"),),
    }
    faces = [candidate("a"), candidate("b"), candidate("c")]

    def both(found: dict[str, float]) -> tuple[float, float]:
        return found["precision"], found["recall"]

    assert both(score(faces, [KEPT, DUPLICATE, "turned"], known)) == (1.0, 0.5)
    assert both(score(faces, [KEPT, KEPT, "turned"], known)) == (0.5, 0.5)
    assert both(score(faces, [DUPLICATE, KEPT, KEPT], known)) == (0.5, 0.5)
    assert both(score(faces, ["small"] * 3, known)) == (0.0, 0.0)
    # Excluded, and no face was found in it: then nobody wants the copy either.
    assert score(faces[1:2], [EXCLUDED], known, {"a"})["recall"] == 0.0
    known["d"] = (annotated(here, True, "4"),)
    kept = score([*faces[1:], candidate("d")], [EXCLUDED, "turned", KEPT], known, {"a"})
    assert both(kept) == (1.0, 1.0)
    elsewhere = candidate("b", box=Box(150, 150, 350, 350))
    assert both(score([elsewhere], [KEPT], known)) == (0.0, 0.0)


# --- exclusions ----------------------------------------------------------------------------


def test_what_is_excluded_is_gone(done: Done, tmp_path: Path) -> None:
    kept = [
        face
        for face, decision in zip(done.found.faces, done.found.decisions, strict=True)
        if decision == KEPT
    ]
    gone = kept[0].sha256
    found = run(
        done.download.folder,
        tmp_path / "out",
        done.database,
        exclusions=Exclusions(frozenset({gone})),
    )
    decisions = {(f.sha256, f.number): d for f, d in zip(found.faces, found.decisions, strict=True)}
    assert decisions[gone, kept[0].number] == EXCLUDED
    assert not list((tmp_path / "out" / "crops").glob(f"{gone}*"))
    assert not (tmp_path / "out" / "sheets" / "excluded.png").exists()
    annotations = done.download.annotations
    after = score(found.faces, found.decisions, annotations, found.excluded)
    before = score(done.found.faces, done.found.decisions, annotations)
    assert after["precision"] >= 0.95
    assert found.excluded == {gone} and abs(after["recall"] - before["recall"]) < 0.002


ROW = {
    "address": "https://i.imgur.com/AbCdEfG.jpg",
    "sha256": "ab" * 32,
    "named_by": [
        {"article": "M.1700000000.A.1B2", "place": "body", "author": "someone"},
        {"article": "M.1700000001.A.1B3", "place": "push", "author": "oTher"},
    ],
}


@pytest.mark.parametrize(
    ("line", "is_hit"),
    [
        ("https://i.imgur.com/AbCdEfG.jpg", True),
        ("http://m.imgur.com/AbCdEfG  # asked on 2024-01-01", True),
        ("AB" * 32, True),
        ("M.1700000001.A.1B3", True),
        ("https://www.ptt.cc/bbs/Beauty/M.1700000000.A.1B2.html", True),
        ("other", True),
        ("OTHER", True),
        ("# other", False),
        ("", False),
        ("somebody", False),
        ("https://i.imgur.com/abcdefg.jpg", False),
        ("M.1700000002.A.1B3", False),
    ],
)
def test_an_entry_names_what_it_takes_out(tmp_path: Path, line: str, is_hit: bool) -> None:
    path = tmp_path / "exclude.txt"
    path.write_text(f"# taken out\n{line}\n")
    assert bool(exclude.read(path).naming(ROW)) == is_hit


def test_a_bad_exclusion_is_named(tmp_path: Path) -> None:
    path = tmp_path / "exclude.txt"
    with pytest.raises(LockstepError, match=r"exclude\.txt: missing; make an empty one"):
        exclude.read(path)
    path.write_bytes(b"# \xa6\x5c\n")
    with pytest.raises(LockstepError, match=r"exclude\.txt: not in UTF-8"):
        exclude.read(path)
    path.write_text("someone\nhello world\n")
    with pytest.raises(LockstepError, match=r"exclude\.txt:2: 'hello world' is no address"):
        exclude.read(path)


def test_an_entry_that_takes_nothing_out_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    add(tmp_path, image(of_kind("portrait")[0]).data, "https://images.example/1.jpg")
    mentioned = Exclusions(frozenset({"nobody", "M.1.A.2", "someone"}))
    with pytest.raises(LockstepError, match="no face is kept"):
        run(tmp_path, tmp_path / "out", tmp_path / "journal.db", exclusions=mentioned)
    said = [line for line in capsys.readouterr().err.splitlines() if "exclude.txt" in line]
    assert said == [
        f"exclude.txt: {name!r} matches nothing among the downloaded images"
        for name in ("M.1.A.2", "nobody")
    ]


def test_the_committed_list_is_valid_and_empty() -> None:
    assert exclude.read(Path(__file__).parent.parent / "exclude.txt") == NOTHING


# --- embedding -----------------------------------------------------------------------------


def test_the_embedding_is_dlibs(astronaut: NDArray[np.uint8]) -> None:
    space = dlib_embedding.space()

    def embeddings(images: NDArray[np.uint8]) -> NDArray[np.floating]:
        return np.concatenate(list(space.features(images)))

    api = engine.models()
    (theirs,) = api.face_encodings(astronaut, api.face_locations(astronaut, 0))
    (found,) = detect_faces(astronaut, dataclasses.replace(DETECTION, size=256))
    (small,) = detect_faces(astronaut, DETECTION)
    other, _, *_ = (
        decoded(detect_faces(draw(0, i), DETECTION)[0].png) for i in of_kind("portrait", 2)
    )
    ours = np.concatenate(
        [embeddings(decoded(found.png)[None]), embeddings(np.stack([decoded(small.png), other]))]
    )
    assert ours.shape == (3, 128)
    distances = np.linalg.norm(ours - theirs, axis=1)
    assert max(distances[:2]) < 0.45 < 0.6 < distances[2]
    again = embeddings(np.stack([other, decoded(small.png)]))
    np.testing.assert_allclose(again, ours[:0:-1], atol=1e-5)


def test_the_network_is_dlibs(astronaut: NDArray[np.uint8]) -> None:
    random = np.random.default_rng(0).integers(0, 256, (2, 150, 150, 3), np.uint8)
    chips = [*random, np.ascontiguousarray(astronaut[50:200, 150:300])]
    theirs = np.array(engine.models().face_encoder.compute_face_descriptor(chips))
    network = embedding.load(dlib_embedding.weights()).cpu()
    ours = network(torch.from_numpy(np.stack(chips)).permute(0, 3, 1, 2).float())
    np.testing.assert_allclose(ours.detach().numpy(), theirs, atol=1e-5)


def test_other_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "weights.dat"
    path.write_bytes(dlib_embedding.weights().read_bytes()[:-1])
    for bad in (path, tmp_path / "none.dat"):
        with pytest.raises(LockstepError, match=rf"{bad.name}: not the weights .*`pip install"):
            embedding.load(bad)
    monkeypatch.setattr(dlib_embedding, "_MODULE", "no_such_module")
    with pytest.raises(LockstepError, match=r"evaluator\.type: dlib wants a package"):
        dlib_embedding.space()


def test_another_network_than_the_evaluators_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lockstep.config.load import load_params
    from lockstep.core import paths
    from lockstep.core.provenance import read_provenance, write_provenance
    from lockstep.evaluation.evaluators import dlib

    found = load_params("faces", Path(__file__).parent.parent / "params.yaml")
    monkeypatch.chdir(tmp_path)
    folder = paths.evaluator("faces")
    folder.mkdir(parents=True)
    assert dlib.train(found, folder) == {}
    noted = read_provenance(folder).params
    assert len(noted["evaluator.sha256"]) == 64
    assert dlib.space(found, None).name == "dlib"
    write_provenance(folder, {**noted, "evaluator.sha256": "18"})
    with pytest.raises(LockstepError, match=r"stands for another face embedding .*`dvc repro"):
        dlib.space(found, None)
