"""params.yaml that is nearly right: its text, and values as `-S` sets them."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fuzzing import one_line, spliced
from lockstep.config.document import read_yaml
from lockstep.config.load import load_all, parse_params
from lockstep.config.presets import Preset
from lockstep.core.errors import LockstepError, Several

ROOT = Path(__file__).resolve().parent.parent
COMMITTED = ROOT / "params.yaml"
DOCUMENT = read_yaml(COMMITTED)
_LINES = COMMITTED.read_text("utf-8").splitlines(keepends=True)
# What people and programs write for a value; `-S` takes all of them.
VALUES = (
    *("0", "1", "-1", "2", "3", "7", "64", "1000000000000", "9" * 400, "0.5", "1.0", "-0.0"),
    *("1e-5", "1e400", ".inf", ".nan", "1_000", "0x10", "0b_", "0o17", "1:30", "~", "null", ""),
    *("true", "no", "'true'", "x", "auto", "last", "ema", "ema_0.1", "ema_0.٣", "best", "train"),
    *("none", "all", "synthetic", "replica", "scratch", "ddim", "v", "flow", "straight", "fp16"),
    *("2024-02-30", "2024-01-01", "'2024-02-30'", "'２０２４-01-01'", "x.npz", "..", "/", "\\0"),
    *("https://[", "https://x:99999", "https://x:0", "https://?", "https://a b", "http://[::1]:80"),
    *("[]", "[0]", "[1, 1]", "[1, 2, 3]", "[[1]]", "[0.5, 0.1]", "[x]", "[true]", "['\\0']"),
    *("{}", "{a: 1}", "{type: folder}", "{lr: 1}", "{? [a]: b}", "&a [*a]", "*a", "&x {<<: *x}"),
    *('"a\\nb"', '"\\e[31m"', '"\\u2028"', '"\\0"', f"'{'x' * 5000}'", "=", "<<", "!!timestamp x"),
    *("!!bool x", "!!int ''", "!!float ''", "!!binary é", "!!set [a]", "!!python/name:os.system"),
    "!!python/object/apply:os.system ['touch pwned']",
)
_ODD = (
    *(f"{key}: {value}\n" for key in ("a", "train", "workloads", "lr") for value in VALUES),
    *(
        "  lr: 1\n",
        "  __dataclass_self__: 1\n",
        "\t",
        "---\n",
        "...\n",
        "%YAML 9\n",
        "\0",
        "\ufeff",
    ),
    *(
        '"a\\nb": 1\n',
        '  "a\\nb": 1\n',
        "  1: 2\n",
        "  ~: 2\n",
        "[" * 900 + "]" * 900,
        "? x\n",
        "- a\n",
    ),
)


def _keys(place: Any, *before: Any) -> Iterator[tuple[Any, ...]]:
    for key, value in place.items():
        yield *before, key
        if isinstance(value, dict):
            yield from _keys(value, *before, key)


_KEYS = sorted(_keys(DOCUMENT))


def _usable(document: dict[str, Any]) -> None:
    """All that is in force can be written down, or one line says what is wrong."""
    for workload in DOCUMENT["workloads"][:2]:
        try:
            params = parse_params(document, workload)
        except LockstepError as error:
            assert len(one_line(error)) < 2000
        else:
            json.dumps(params.in_force(), allow_nan=False)
            json.dumps(params.deciding("source", "crawl", "train"))
            assert yaml.safe_load(yaml.safe_dump(params.in_force())) == params.in_force()


@settings(max_examples=60)
@given(st.lists(st.tuples(st.sampled_from(_KEYS), st.sampled_from(VALUES)), max_size=3))
@example([(("crawl", "source"), "https://[")]).via("no address, found by the client")
@example([(("crawl", "source"), "https://x:99999")])
@example([(("train",), "!!timestamp x")]).via("PyYAML: NoneType has no attribute groupdict")
@example([(("train", "lr"), "9" * 400)])
def test_values_are_in_force_or_named(
    tmp_path_factory: pytest.TempPathFactory, values: list[tuple[tuple[Any, ...], str]]
) -> None:
    document = copy.deepcopy(DOCUMENT)
    for (*sections, name), text in values:
        place: Any = document
        for section in sections:
            place = place.get(section) if isinstance(place, dict) else None
        path = tmp_path_factory.getbasetemp() / "value.yaml"
        path.write_text(f"value: {text}\n", "utf-8")
        try:
            value = read_yaml(path)["value"]
        except LockstepError as error:
            assert one_line(error).startswith(f"{path}: not valid YAML: ")
            continue
        if isinstance(place, dict):
            place[name] = value
    _usable(document)


@settings(max_examples=40)
@given(st.data())
def test_no_text_leads_to_anything_but_parameters_or_one_line(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Nothing is run, and nothing is written."""
    folder = tmp_path_factory.getbasetemp() / "text"
    folder.mkdir(exist_ok=True)
    path = folder / "params.yaml"
    path.write_text("".join(data.draw(spliced(_LINES, _ODD))), "utf-8")
    try:
        load_all(path)
    except LockstepError as error:
        assert one_line(error).startswith(f"{path}")
    assert [file.name for file in folder.iterdir()] == ["params.yaml"]


@settings(max_examples=40)
@given(
    st.dictionaries(
        st.sampled_from([".".join(map(str, key)) for key in _KEYS])
        | st.sampled_from(["a", "a..b"]),
        st.sampled_from([0, "x y", "a\nb", None, [1, "a b"], {"a": 1}, 1.5, "no", "", "\x1b"]),
        max_size=3,
    )
)
def test_a_preset_is_laid_over_or_refused(values: dict[str, Any]) -> None:
    preset = Preset("x", "", [], values)
    try:
        _usable(preset.over(copy.deepcopy(DOCUMENT)))
        for argument in preset.arguments():
            assert " " not in argument
    except LockstepError as error:
        one_line(error)


def test_whatever_stands_in_a_message_it_is_one_line() -> None:
    error = LockstepError("a\nb\r\x1b[31m\x85\u2028 é圖")
    assert str(error) == "a\\nb\\r\\x1b[31m\\x85\\u2028 é圖"
    assert str(LockstepError(str(error))) == str(error)
    assert str(Several("a\nb", "c")) == "a\\nb\nerror: c"
