"""Label files, the official folder's import, and the stand-in's combinations."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from collecting import silent
from lockstep.config.sources import Rendered
from lockstep.core.errors import LockstepError
from lockstep.data.labels import multi_hot, read_labels, scene_of, speaks_of_sides
from lockstep.sources import iclevr

OBJECTS = {
    f"{colour} {shape}": i
    for i, (shape, colour) in enumerate(
        (shape, colour)
        for shape in ("cube", "sphere", "cylinder")
        for colour in ("gray", "red", "blue", "green", "brown", "purple", "cyan", "yellow")
    )
}


def folder_with(tmp_path: Path, images: str = "images", **files: object) -> Path:
    """An i-CLEVR folder of three 320x240 images; `files` replace label files."""
    folder = tmp_path / "source"
    (folder / images).mkdir(parents=True)
    content: dict[str, object] = {
        "objects": OBJECTS,
        "train": {
            "CLEVR_train_000001_0.png": ["red cube"],
            "CLEVR_train_000001_1.png": ["red cube", "cyan sphere"],
            "CLEVR_train_000002_0.png": ["gray cylinder"],
        },
        "test": [["gray cube"]],
        "new_test": [["gray cube", "red sphere"]],
    }
    for name, value in {**content, **files}.items():
        (folder / f"{name}.json").write_text(json.dumps(value))
    rng = np.random.default_rng(0)
    for name in content["train"]:  # type: ignore[attr-defined]
        pixels = rng.integers(0, 256, (240, 320, 3), np.uint8)
        Image.fromarray(pixels).save(folder / images / name)
    return folder


@pytest.mark.parametrize("images", ["images", "iclevr", "."])
def test_an_official_folder_comes_in(tmp_path: Path, images: str) -> None:
    source = folder_with(tmp_path, images)
    out = tmp_path / "out"
    out.mkdir()
    iclevr.import_folder(source, out, 64, silent)
    labels = read_labels(out)
    assert labels == read_labels(source)
    for name in labels.train:
        with (
            Image.open(out / "images" / name) as image,
            Image.open(source / images / name) as original,
        ):
            assert image.size == (64, 64)
            # Straight to the square: the whole image, not a crop of it.
            expected = original.resize((64, 64), Image.Resampling.BILINEAR)
            assert np.array_equal(np.asarray(image), np.asarray(expected))


def test_its_images_are_read_as_collecting_reads_them(tmp_path: Path) -> None:
    source = folder_with(tmp_path)
    name = "CLEVR_train_000001_1.png"
    pixels = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
    turned = Image.Exif()
    turned[0x0112] = 6
    clear = np.dstack([pixels, np.full((64, 64), 255, np.uint8)])
    clear[:32, :, 3] = 0
    pixels[:32] = 255
    image = Image.fromarray(np.ascontiguousarray(np.rot90(clear)))
    image.save(source / "images" / name, exif=turned)
    out = tmp_path / "out"
    out.mkdir()
    iclevr.import_folder(source, out, 64, silent)
    with Image.open(out / "images" / name) as found:
        assert np.array_equal(np.asarray(found), pixels)


def test_all_missing_and_broken_images_are_listed(tmp_path: Path) -> None:
    source = folder_with(tmp_path)
    (source / "images/CLEVR_train_000001_1.png").unlink()
    whole = (source / "images/CLEVR_train_000002_0.png").read_bytes()
    (source / "images/CLEVR_train_000002_0.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "out").mkdir()
    with pytest.raises(LockstepError) as caught:
        iclevr.import_folder(source, tmp_path / "out", 64, silent)
    message = str(caught.value)
    assert "2 images missing or broken" in message
    assert "CLEVR_train_000001_1.png, CLEVR_train_000002_0.png" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {"train": {"a_0.png": ["red cow"]}},
            "train.json: objects that objects.json does not",
        ),
        ({"test": [["red cow"]]}, "test.json: objects that objects.json does not know"),
        ({"train": {"a_0.png": []}}, "train.json: a_0.png: must be a list of distinct"),
        ({"train": {"a_0.png": ["red cube"] * 2}}, "train.json: a_0.png: must be a list of dist"),
        ({"train": {"../a_0.png": ["red cube"]}}, "'../a_0.png': must be a bare file name"),
        ({"train": []}, "train.json: must map file names"),
        ({"objects": {"red cube": 1}}, "objects.json: must map each object name to its id"),
        ({"objects": {"a": 0, "b": 0}}, "objects.json: must map each object name to its id"),
        ({"new_test": {}}, "new_test.json: must be a list of lists"),
    ],
)
def test_wrong_labels_are_named(tmp_path: Path, files: dict, message: str) -> None:
    source = folder_with(tmp_path, **files)
    with pytest.raises(LockstepError) as caught:
        read_labels(source)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_label_file_and_a_folder_without_images(tmp_path: Path) -> None:
    source = folder_with(tmp_path)
    for path in (source / "images").iterdir():
        path.unlink()
    (tmp_path / "out").mkdir()
    with pytest.raises(LockstepError, match=r"none of train.json's images"):
        iclevr.import_folder(source, tmp_path / "out", 64, silent)
    (source / "test.json").unlink()
    with pytest.raises(LockstepError, match=r"test.json: missing"):
        read_labels(source)


def test_multi_hot() -> None:
    hot = multi_hot([["gray cube"], ["yellow cylinder", "red cube"]], OBJECTS)
    assert hot.shape == (2, 24)
    assert [list(np.flatnonzero(row)) for row in hot] == [[0], [1, 23]]


OFFICIAL = Path(__file__).resolve().parents[2] / "shared" / "iclevr"


@pytest.mark.skipif(not OFFICIAL.is_dir(), reason="the official label files are not beside us")
def test_the_official_label_files_are_read() -> None:
    labels = read_labels(OFFICIAL)
    assert labels.objects == OBJECTS
    assert len(labels.train) == 3 * 6003
    assert len({scene_of(name) for name in labels.train}) == 6003
    # The rendered files have as many sets of each size.
    assert sorted(map(len, labels.test)) == sorted(iclevr.TEST_SIZES)
    assert sorted(map(len, labels.new_test)) == sorted(iclevr.NEW_TEST_SIZES)


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("rendered")
    settings = Rendered("rendered", 60, size=32, seed=3, supersample=1)
    iclevr.render(settings, out, silent)
    return out


def test_rendered_files_have_the_official_form(rendered: Path) -> None:
    labels = read_labels(rendered)
    assert labels.objects == OBJECTS
    assert len(labels.train) == 180
    assert sorted(labels.train) == sorted(p.name for p in (rendered / "images").iterdir())
    for index in range(60):
        names = [labels.train[f"scene_{index:06d}_{k}.png"] for k in range(3)]
        assert names[0] == names[2][:1]
        assert names[1] == names[2][:2]
    # As many sets and labels as the official files have.
    assert (len(labels.test), sum(map(len, labels.test))) == (32, 72)
    assert (len(labels.new_test), sum(map(len, labels.new_test))) == (32, 84)


def test_test_sets_occur_and_new_test_sets_never_do(rendered: Path) -> None:
    labels = read_labels(rendered)
    shown = [frozenset(names) for names in labels.train.values()]
    for names in labels.test:
        assert frozenset(names) in shown
    for names in labels.new_test:
        assert not any(set(names) <= image for image in shown)
    for one, other in combinations(labels.test, 2):
        assert set(one) != set(other)


def test_too_few_scenes_are_refused(tmp_path: Path) -> None:
    settings = Rendered("rendered", 32, size=8, seed=0, supersample=1)
    with pytest.raises(LockstepError, match=r"source.count: too few scenes"):
        iclevr.render(settings, tmp_path, silent)


@pytest.mark.parametrize(
    ("names", "speaks"),
    [
        (["red cube", "blue sphere"], False),
        (["cube on the Left"], True),
        (["right of a sphere"], True),
        (["bright cube", "leftover"], False),
    ],
)
def test_words_that_a_mirror_turns_round(names: list[str], speaks: bool) -> None:
    assert speaks_of_sides(names) is speaks
