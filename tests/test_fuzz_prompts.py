"""Any text as a prompt, and tokenisers whose file is nearly right."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from fuzzing import damaged, one_line, spliced
from lockstep.core.errors import LockstepError
from lockstep.models.text import tokenizer

_WORDS = tokenizer.Tokenizer(("red", "cube", "the", "圖"), 4)
_ODD = (
    *(
        "\0",
        "\ud800",
        "\udfff",
        "\u200d",
        "\ufeff",
        "\u0301" * 50,
        "\ufdfa",
        "ﷺ",
        "İ",
        "ß",
        "🧑‍🚀",
        "[PAD]",
        "[UNK]",
    ),
    *(
        "\u2028",
        "\x1b[31m",
        "圖",
        "ｃｕｂｅ",
        "CUBE",
        "the" * 3000,
        "\U000e0001",
        "\uffff",
        "\n",
        " ",
    ),
)


@settings(max_examples=150)
@given(
    st.lists(st.sampled_from([*_ODD, "red", "cube", " "]) | st.text(max_size=5), max_size=8).map(
        "".join
    )
)
@example("a" * 100_000)
@example("\ufdfa" * 5000).via("18 letters each")
def test_any_text_is_a_row(text: str) -> None:
    (ids,) = _WORDS.encode([text])
    assert len(ids) == 4 and ((ids >= 0) & (ids < _WORDS.size)).all()
    unread = _WORDS.unread([text])
    words = tokenizer.split(text)
    assert len(words) == int((ids > 0).sum()) + len(unread.cut)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("words") / "tokenizer.json"
    _WORDS.save(path)
    return path.read_text("utf-8")


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_tokenisers_file(tmp_path: Path, saved: str, data: st.DataObject) -> None:
    """What is read is what was saved, or as much of the same form; else one line."""
    path = tmp_path / "tokenizer.json"
    tokens = saved.replace("\n", "\n\1").replace(":", "\1:\1").split("\1")
    odd = [
        '"red"',
        "4",
        "-1",
        "99999999999",
        "null",
        "{",
        "}",
        "[",
        "]",
        ",",
        '"\\ud800"',
        "1e400",
        '"BPE"',
    ]
    whole = "".join(data.draw(spliced(tokens, odd))).encode("utf-8", "surrogatepass")
    path.write_bytes(data.draw(damaged(whole)) if data.draw(st.booleans()) else whole)
    try:
        found: Any = tokenizer.load(path)
    except LockstepError as error:
        assert str(path) in one_line(error)
    else:
        assert found.encode(["the red cube"]).shape == (1, found.length)
        assert json.loads(found.library.to_str())
