"""Caption files in all their forms, a user's folder, the drawn stand-in, and the rows of both."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from collecting import silent
from lockstep.config.sources import Rendered
from lockstep.core.errors import LockstepError
from lockstep.data import captions
from lockstep.data.annotations import (
    ANNOTATIONS,
    SIDES,
    Annotations,
    PromptContent,
    number_of,
    read_annotations,
    write_annotations,
)
from lockstep.data.captions import distinct_prompts, shown_by_rows
from lockstep.data.clevr import object_id
from lockstep.sources.captions.folder import import_folder
from lockstep.sources.captions.packing import read as read_captions
from lockstep.sources.captions.rendered import render
from lockstep.sources.captions.test_prompts import choose_prompts, held_out
from lockstep.sources.folders.read import ReadSettings

READING = ReadSettings(size=16, max_pixels=10_000)


def file_with(folder: Path, content: Any, name: str = "file.json") -> Path:
    text = content if isinstance(content, str) else json.dumps(content)
    (folder / name).write_text(text, "utf-8")
    return folder / name


# --- the files -------------------------------------------------------------------------------

TRAIN_FORMS = [
    [{"file_name": "a.png", "text_prompt": "x"}, {"file_name": "b.jpg", "text_prompt": " y  z\n"}],
    {"a.png": {"text_prompt": "x"}, "b.jpg": {"text_prompt": "y z"}},
    {"a.png": "x", "b.jpg": "y z"},
    {"a.png": ["x"], "b.jpg": {"text_prompt": ["y z"]}},
]
TEST_FORMS = [
    ({"p": "x", "q": "y"}, {"p": "x", "q": "y"}),
    ({"p": {"text_prompt": "x"}, "q.png": {"text_prompt": "y"}}, {"p": "x", "q": "y"}),
    ([{"id": "p", "text_prompt": "x"}, {"id": 7, "text_prompt": "y"}], {"p": "x", "7": "y"}),
    ([{"file_name": "p.PNG", "text_prompt": "x"}], {"p": "x"}),
    ([{"text_prompt": "x"}, {"text_prompt": "x"}], {"0": "x", "1": "x"}),
    (["x", "y"], {"0": "x", "1": "y"}),
    ({"v1.5": "x"}, {"v1.5": "x"}),
]


@pytest.mark.parametrize("content", TRAIN_FORMS)
def test_train_info_in_all_its_forms(tmp_path: Path, content: Any) -> None:
    found = captions.read_train(file_with(tmp_path, content))
    assert found == {"a.png": ["x"], "b.jpg": ["y z"]}


@pytest.mark.parametrize(("content", "expected"), TEST_FORMS)
def test_test_in_all_its_forms(tmp_path: Path, content: Any, expected: dict[str, str]) -> None:
    found = captions.read_test(file_with(tmp_path, content))
    assert list(found.items()) == list(expected.items())


def test_several_prompts_of_a_image_and_several_images_of_a_prompt(tmp_path: Path) -> None:
    rows = [("a.png", "x"), ("b.png", "x"), ("a.png", "w")]
    listed = [{"file_name": name, "text_prompt": prompt} for name, prompt in rows]
    found = captions.read_train(file_with(tmp_path, listed))
    assert found == {"a.png": ["x", "w"], "b.png": ["x"]}
    assert captions.pairs(found) == [("a.png", "x"), ("a.png", "w"), ("b.png", "x")]


PROMPTS = st.text(st.characters(codec="utf-8"), min_size=1).filter(str.strip)
NAMES = st.from_regex(r"[a-zé][a-z0-9_ -]{0,20}", fullmatch=True)


@given(
    st.dictionaries(
        NAMES.map(lambda name: f"{name}.png"), st.lists(PROMPTS, min_size=1), min_size=1
    ),
    st.dictionaries(NAMES, PROMPTS, min_size=1),
)
def test_what_is_written_is_read_again(
    tmp_path_factory: pytest.TempPathFactory, train: dict[str, list[str]], test: dict[str, str]
) -> None:
    folder = tmp_path_factory.mktemp("written")
    tidy = {name: list(dict.fromkeys(map(normal, prompts))) for name, prompts in train.items()}
    captions.write(folder, tidy, test)
    assert captions.read_train(folder / "train_info.json") == tidy
    found = captions.read_test(folder / "test.json")
    assert found == {name: normal(prompt) for name, prompt in test.items()}


def normal(prompt: str) -> str:
    return " ".join(prompt.split())


WRONG_IN_BOTH = [
    ("{", "not valid JSON"),
    ("[" * 100_000, "not valid JSON"),
    ('{"a.png": "x", "a.png": "y"}', "the key 'a.png' is there twice; remove one"),
    ("[]", "must be a list or a mapping of at least one text_prompt"),
    ('"x"', "must be a list or a mapping"),
    ({"a.png": ""}, '["a.png"]: text_prompt: is empty'),
    ({"a.png": " \n"}, '["a.png"]: text_prompt: is empty'),
    ({"a.png": 3}, '["a.png"]: text_prompt: must be text, not int'),
    ({"a.png": {"prompt": "x"}}, "[\"a.png\"]: unknown key 'prompt'; a row has text_prompt"),
    ({"a.png": {}}, '["a.png"]: has no text_prompt'),
    ({"a.png": "\ud800"}, "has half a character"),
    ({"x/a.png": "x"}, "'x/a.png' is no bare file name"),
    ({"..": "x"}, "'..' is no bare file name"),
    ({"": "x"}, "'' is no bare file name"),
    ({"a\0": "x"}, "is no bare file name"),
    ({"a\ud800": "x"}, "is no bare file name"),
    ({"a" * 300: "x"}, "is no bare file name"),
    ([{"file_name": "..\\a", "text_prompt": "x"}], "[0]: file_name: '..\\\\a' is no bare file"),
    ([{"file_name": ["a"], "text_prompt": "x"}], "[0]: file_name: must be text, not ['a']"),
    ([{"file_name": "a", "text_prompt": "x", "w": 1}], "[0]: unknown key 'w'"),
]
WRONG_IN_TRAIN = [
    (["x"], "[0]: has no file_name"),
    ([{"text_prompt": "x"}], "[0]: has no file_name"),
    ({"a.png": []}, '["a.png"]: text_prompt: an empty list'),
    ({"a.png": ["x", None]}, '["a.png"]: text_prompt: must be text, not NoneType'),
    ([{"file_name": "a", "text_prompt": "x"}] * 2, "[1]: 'a' has 'x' already; remove one"),
    ({"a.png": "x", "a.jpg": "x"}, "'a.png' and 'a.jpg' would both become a.png; rename one"),
]
WRONG_IN_TEST = [
    ({"a": ["x"]}, '["a"]: text_prompt: must be text, not list'),
    ([{"id": "a", "file_name": "a", "text_prompt": "x"}], "[0]: has both id and file_name"),
    ([{"id": True, "text_prompt": "x"}], "[0]: id: must be text, not True"),
    ([{"id": None, "text_prompt": "x"}], "[0]: has no id"),
    ([{"id": "1", "text_prompt": "x"}, "y"], "[1]: a second prompt of the id '1'"),
    ({"a": "x", "a.png": "y"}, "[\"a.png\"]: a second prompt of the id 'a'; give it another"),
]


@pytest.mark.parametrize(
    ("read", "content", "message"),
    [
        *((captions.read_train, *row) for row in WRONG_IN_BOTH + WRONG_IN_TRAIN),
        *((captions.read_test, *row) for row in WRONG_IN_BOTH + WRONG_IN_TEST),
    ],
)
def test_wrong_files_are_named(tmp_path: Path, read: Any, content: Any, message: str) -> None:
    with pytest.raises(LockstepError) as caught:
        read(file_with(tmp_path, content))
    assert str(caught.value).startswith(f"{tmp_path / 'file.json'}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


# --- a user's folder -------------------------------------------------------------------------


def folder_with(tmp_path: Path, inner: str = ".") -> Path:
    """Three images: a wide one with white, red, blue thirds, a see-through one, a grey one."""
    folder = tmp_path / "source"
    (folder / inner).mkdir(parents=True)
    thirds = np.repeat([[[255] * 3, [255, 0, 0], [0, 0, 255]]], 30, 1).repeat(30, 0)
    Image.fromarray(thirds.astype(np.uint8)).save(folder / inner / "wide.bmp")
    Image.new("RGBA", (40, 40), (0, 0, 0, 0)).save(folder / inner / "clear.png")
    Image.new("L", (16, 20), 99).save(folder / inner / "grey.webp", lossless=True)
    file_with(folder, {"wide.bmp": ["a", "b"], "clear.png": "a", "grey.webp": "c"}, captions.TRAIN)
    file_with(folder, ["on the left, a cube"], captions.TEST)
    return folder


@pytest.mark.parametrize("inner", [".", "images", "some images"])
def test_a_folder_comes_in(tmp_path: Path, inner: str) -> None:
    source = folder_with(tmp_path, inner)
    (source / "other").mkdir()
    out = tmp_path / "out"
    out.mkdir()
    import_folder(source, out, READING, 1, silent)
    expected = {"wide": (255, 0, 0), "clear": (255,) * 3, "grey": (99,) * 3}
    assert {path.stem for path in (out / "images").iterdir()} == set(expected)
    for name, colour in expected.items():
        with Image.open(out / "images" / f"{name}.png") as image:
            assert (image.size, image.mode) == ((16, 16), "RGB")
            assert (np.asarray(image) == colour).all()
    found = read_captions(out)
    assert [path.name for path in found.images] == [
        "clear.png",
        "grey.png",
        "wide.png",
        "wide.png",
    ]
    assert all(path.is_file() for path in found.images)
    assert found.groups == ["clear", "grey", "wide", "wide"]
    assert distinct_prompts(out) == ["", "a", "b", "c"]
    assert found.conditions.tolist() == [[1], [3], [1], [2]]
    assert not found.mirrorable  # test.json speaks of the left
    assert shown_by_rows(out) is None
    assert [path.name for path in found.carried] == [captions.TRAIN, captions.TEST]
    file_with(out, ["a bright, leftover cube"], captions.TEST)
    assert read_captions(out).mirrorable


def test_all_missing_and_broken_images_are_listed(tmp_path: Path) -> None:
    source = folder_with(tmp_path)
    (source / "clear.png").unlink()
    (source / "grey.webp").write_bytes(b"<html>")
    (tmp_path / "out").mkdir()
    with pytest.raises(LockstepError) as caught:
        import_folder(source, tmp_path / "out", READING, 1, silent)
    message = str(caught.value)
    assert "2 images of train_info.json are missing or broken" in message
    assert "clear.png (missing), grey.webp (an HTML page); mend them" in message
    (source / "wide.bmp").unlink()
    (source / "grey.webp").unlink()
    with pytest.raises(LockstepError, match=r"source: none of the images of train_info.json"):
        import_folder(source, tmp_path / "out", READING, 1, silent)
    for name in ("one", "two"):
        (source / name).mkdir()
        (source / name / "clear.png").touch()
    with pytest.raises(LockstepError, match=r"are in several folders \(one, two\); leave one"):
        import_folder(source, tmp_path / "out", READING, 1, silent)
    (source / captions.TEST).unlink()
    with pytest.raises(LockstepError, match=r"test.json: missing; a folder of captions has"):
        import_folder(source, tmp_path / "out", READING, 1, silent)


# --- drawn captions --------------------------------------------------------------------------

COUNT = 150


def drawn(out: Path, processes: int) -> Path:
    render(Rendered("rendered", COUNT, size=32, seed=3, supersample=1), out, processes, silent)
    return out


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return drawn(tmp_path_factory.mktemp("rendered"), processes=1)


def truth_in(folder: Path) -> Annotations:
    found = read_annotations(folder)
    assert found is not None
    return found


def test_the_number_of_processes_does_not_matter(rendered: Path, tmp_path: Path) -> None:
    again = drawn(tmp_path, processes=2)
    names = sorted(path.relative_to(again) for path in again.rglob("*") if path.is_file())
    assert len(names) == COUNT + 3
    for name in names:
        assert (again / name).read_bytes() == (rendered / name).read_bytes(), name


def test_drawn_captions_are_read_as_rows(rendered: Path) -> None:
    found, distinct = read_captions(rendered), distinct_prompts(rendered)
    assert len(found.images) == len(set(found.groups)) == COUNT
    assert sorted(found.images) == sorted((rendered / "images").iterdir())
    prompts = captions.read_train(rendered / captions.TRAIN)
    for path, (number,) in zip(found.images, found.conditions, strict=True):
        assert [distinct[number]] == prompts[path.name]
    assert found.conditions.min() == 1
    assert not found.mirrorable
    assert [path.name for path in found.carried] == [captions.TRAIN, captions.TEST, ANNOTATIONS]
    known, shown = truth_in(rendered).train, shown_by_rows(rendered)
    assert shown is not None
    for path, present in zip(found.images, shown.present, strict=True):
        ids = {number_of(one.name) for one in known[path.name]}
        assert set(np.flatnonzero(present)) == ids
    counts = shown.present.sum(1)
    assert set(counts) == {1, 2}
    assert 0.55 < (counts == 2).mean() < 0.75
    large = shown.large.sum() / counts.sum()
    assert 0.35 < large < 0.65


def test_objects_are_where_the_truth_says(rendered: Path) -> None:
    """Each yellow, cyan or red object that stands alone has such a pixel at its centre."""
    checked = 0
    for name, row in truth_in(rendered).train.items():
        if len(row) == 1 and row[0].name.split()[0] in ("yellow", "cyan", "red"):
            with Image.open(rendered / "images" / name) as image:
                red, green, blue = image.getpixel((int(row[0].x * 32), int(row[0].y * 32)))
            colour = {"yellow": red > 2 * blue, "cyan": blue > 2 * red, "red": red > 2 * green}
            assert colour[row[0].name.split()[0]]
            checked += 1
    assert checked > 3


def test_new_combinations_occur_in_no_image(rendered: Path) -> None:
    found = truth_in(rendered)
    shown = {
        frozenset(pair)
        for row in found.train.values()
        for pair in combinations([one.name for one in row], 2)
    }
    objects = {one.name for row in found.train.values() for one in row}
    pairs = []
    for name, stated in found.test.items():
        names = frozenset(mention.name for mention in stated.objects)
        if len(names) == 2:
            assert (names in shown) != name.startswith("new_")
            pairs.append(names)
        assert names <= objects
    assert len(set(pairs)) == len(pairs) == 48


def test_what_is_asked_for(rendered: Path) -> None:
    prompts = captions.read_test(rendered / captions.TEST)
    asked = truth_in(rendered).test
    assert list(prompts) == list(asked)
    groups: dict[str, list[PromptContent]] = {}
    for name, stated in asked.items():
        assert all(mention.name in prompts[name] for mention in stated.objects)
        groups.setdefault(name.rpartition("_")[0], []).append(stated)
    sizes = {name: len(rows) for name, rows in groups.items()}
    assert sizes == {"single": 16, "pair": 12, "new_pair": 12, "relation": 12, "new_relation": 12}
    for name, rows in groups.items():
        sized = [row for row in rows if row.objects[0].size is not None]
        assert all(mention.size is not None for row in sized for mention in row.objects)
        kinds = [row.relation.kind for row in rows if row.relation is not None]
        if "relation" in name:
            assert len(sized) == 4
            assert all(kinds.count(kind) == 3 for kind in SIDES)
        else:
            assert len(sized) == len(rows) // 2
            assert not kinds


def test_too_few_images_are_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(LockstepError, match=r"source.count: the images show 2 of .* raise it"):
        choose_prompts([["red cube", "cyan cube"]] * 3, held_out(rng), rng)


def test_a_truth_of_other_captions_is_refused(rendered: Path, tmp_path: Path) -> None:
    for name in (captions.TRAIN, captions.TEST):
        (tmp_path / name).write_bytes((rendered / name).read_bytes())
    found = truth_in(rendered)
    write_annotations(tmp_path, found)
    shown = shown_by_rows(tmp_path)  # beside packed arrays there are no images
    assert shown is not None
    first = found.train["scene_000000.png"][0]
    colour, shape = first.name.split()
    assert shown.place[0, object_id(shape, colour)].tolist() == pytest.approx([first.x, first.y])
    less = {name: row for name, row in found.train.items() if name != "scene_000007.png"}
    write_annotations(tmp_path, Annotations(less, found.test))
    with pytest.raises(
        LockstepError, match=r"annotations.json: nothing on scene_000007.png; mend it"
    ):
        read_captions(tmp_path)
