"""Files that say what images show, nearly right: read as they are, or one line names the fault."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from collecting import contents
from fuzzing import damaged, one_line, spliced
from lockstep.config.new import inspect_images
from lockstep.core.errors import LockstepError
from lockstep.data import captions
from lockstep.data.annotations import ANNOTATIONS, as_arrays, read_annotations
from lockstep.data.labels import LABEL_FILES, multi_hot, read_labels, read_objects, scene_of
from lockstep.sources import exclude

_OBJECTS = {"red cube": 0, "blue sphere": 1, "left cone": 2}
_IMAGES = {"scene_0_0.png": ["red cube"], "scene_0_1.png": ["red cube", "blue sphere"]}
_LABELS = {
    "objects": _OBJECTS,
    "train": _IMAGES,
    "test": [["red cube"]],
    "new_test": [["left cone", "red cube"]],
}
_CAPTIONS = {
    captions.TRAIN: {"a.png": {"text_prompt": ["a red cube", "x"]}, "b.jpg": "a blue sphere"},
    captions.TEST: [{"id": "0", "text_prompt": "a red cube"}, "a"],
    ANNOTATIONS: {
        "train": {"a.png": [{"name": "red cube", "size": "large", "x": 0.5, "y": 0.5}]},
        "test": {
            "0": {
                "objects": [
                    {"name": "red cube", "size": None},
                    {"name": "blue sphere", "size": None},
                ],
                "relation": {"kind": "left of", "first": 0, "second": 1},
            }
        },
    },
}
_ODD = st.sampled_from(
    [
        *(None, True, False, 0, 1, -1, 0.0, 1.0, 2.5, 10**30, 1e300, float("nan"), float("inf")),
        *(
            "",
            " ",
            "x",
            "a\nb",
            "a\0b",
            "\x1b[31m",
            "\ud800",
            "..",
            ".",
            "/etc/hostname",
            "../x.png",
        ),
        *("a/b.png", "a\\b.png", "n" * 300 + ".png", "A.PNG", ".png", "red cube", "é圖", "\u2028"),
        *([], {}, [[]], {"": ""}, ["red cube", "red cube"], [["red cube"]], {"text_prompt": "a"}),
    ]
)


@st.composite
def _changed(draw: st.DrawFn, value: Any) -> Any:
    """The value with odd ones in some places, and some keys renamed or gone."""
    if draw(st.integers(0, 7)) == 0:
        return draw(_ODD)
    if isinstance(value, dict):
        found = {}
        for key, inner in value.items():
            match draw(st.integers(0, 9)):
                case 0:
                    continue
                case 1:
                    key = str(draw(_ODD))
            found[key] = draw(_changed(inner))
        return found
    if isinstance(value, list):
        return [draw(_changed(one)) for one in value] + draw(st.lists(_ODD, max_size=1))
    return value


@st.composite
def _texts(draw: st.DrawFn, value: Any) -> bytes:
    """The file: of other values, or damaged, or of JSON that says more than it may."""
    match draw(st.integers(0, 5)):
        case 0:
            return draw(damaged(json.dumps(value).encode()))
        case 1:
            tokens = json.dumps(value).replace('"', '\1"\1').replace(",", "\1,\1").split("\1")
            odd = [
                "[" * 3000,
                "]" * 3000,
                "9" * 5000,
                "1e999",
                "NaN",
                "-",
                "\\u0000",
                '"',
                "\ufeff",
                "//",
            ]
            return "".join(draw(spliced(tokens, [*odd, "{", "}", ":"]))).encode()
        case 2:
            return json.dumps(value).encode("utf-16")
    return json.dumps(draw(_changed(value))).encode()


def _reads(folder: Path, read: Callable[[], Any]) -> Any:
    before = contents(folder)
    try:
        return read()
    except LockstepError as error:
        assert str(folder) in one_line(error)
        return None
    finally:
        assert contents(folder) == before


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.fixed_dictionaries({name: _texts(value) for name, value in _LABELS.items()}), st.data())
@example({name: json.dumps(value).encode() for name, value in _LABELS.items()}, None)
def test_label_files(tmp_path: Path, files: dict[str, bytes], data: st.DataObject | None) -> None:
    # Mostly one of them is wrong: the others would hide it.
    wrong = files if data is None else {data.draw(st.sampled_from(LABEL_FILES))}
    for name, value in _LABELS.items():
        whole = json.dumps(value).encode()
        (tmp_path / f"{name}.json").write_bytes(files[name] if name in wrong else whole)
    found = _reads(tmp_path, lambda: read_labels(tmp_path))
    if found is not None:
        hot = multi_hot(found.train.values(), found.objects)
        assert hot.sum() == sum(map(len, found.train.values()))
        assert all(scene_of(name) for name in found.train if name)
    _reads(tmp_path, lambda: inspect_images(tmp_path))


@pytest.mark.parametrize(
    "ids", [{"a": 0.0}, {"a": 0, "b": True}, {"a": False}, {"a": 0, "b": 1.0}, {"a": "0"}], ids=str
)
def test_an_id_is_a_whole_number_and_nothing_that_equals_one(ids: Any, tmp_path: Path) -> None:
    path = tmp_path / "objects.json"
    path.write_text(json.dumps(ids))
    with pytest.raises(LockstepError, match="must map each object name to its id"):
        read_objects(path)


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.fixed_dictionaries({name: _texts(value) for name, value in _CAPTIONS.items()}))
def test_caption_files(tmp_path: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    train = _reads(tmp_path, lambda: captions.read_train(tmp_path / captions.TRAIN))
    test = _reads(tmp_path, lambda: captions.read_test(tmp_path / captions.TEST))
    shown = _reads(tmp_path, lambda: read_annotations(tmp_path))
    if shown is not None:
        as_arrays(list(shown.train.values()))
    if train and test:
        again = tmp_path / "again"
        again.mkdir(exist_ok=True)
        captions.write(again, train, test)
        assert captions.read_train(again / captions.TRAIN) == train
        assert captions.read_test(again / captions.TEST) == test
        assert all("/" not in name and name not in ("", ".", "..") for name in (*train, *test))
    _reads(tmp_path, lambda: captions.shown_by_rows(tmp_path))


_ENTRIES = (
    *(
        "https://i.imgur.com/AbCdEfG.jpg",
        "M.1700000000.A.1B2",
        "0" * 64,
        "someone",
        "a.zip:b/c.png",
    ),
    *(
        "https://[",
        "https://b.example/bbs/B/M.1700000000.A.1B2.html",
        "# x",
        " # x",
        ":",
        "a:",
        ":b",
    ),
    *(
        "\0",
        "\x1b",
        "\ufeff",
        "x" * 5000,
        "http://x:99999/a.jpg",
        "é",
        "\u2028",
        "M.٣.A",
        "https://",
    ),
)


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(_ENTRIES) | st.text(max_size=8), max_size=5), st.data())
def test_lists_of_exclusions(tmp_path: Path, lines: list[str], data: st.DataObject) -> None:
    whole = "\n".join(lines).encode("utf-8", "surrogatepass")
    path = tmp_path / "exclude.txt"
    path.write_bytes(data.draw(damaged(whole)) if data.draw(st.booleans()) else whole)
    found = _reads(tmp_path, lambda: exclude.read(path))
    if found is not None:
        assert found.of_merges().entries | found.of_downloads().entries == found.entries
        found.naming(
            {"address": "x", "sha256": "y", "named_by": [{"article": "z", "author": None}]}
        )
