"""The table of the files found: their order, and what was read of them."""

from __future__ import annotations

import sqlite3

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockstep.core.errors import LockstepError
from lockstep.sources.folders.read import Measures
from lockstep.sources.folders.table import File, FileTable

TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=4)
FIGURES = st.builds(
    Measures,
    st.integers(1, 10**6),
    st.integers(1, 10**6),
    st.floats(0, 128).map(lambda contrast: round(contrast, 2)),
    st.binary(min_size=32, max_size=32).map(bytes.hex),
)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2), TEXTS, st.sampled_from(["", "aa", "bb", "cc"]))),
    st.dictionaries(st.sampled_from(["aa", "bb"]), st.none() | FIGURES, min_size=2),
)
def test_files_come_in_their_order_with_what_was_read(
    drawn: list[tuple[int, str, str]], known: dict[str, Measures | None]
) -> None:
    files = [
        File(rank, f"s{rank}", path, sha256, "" if sha256 else "a link")
        for rank, path, sha256 in drawn
    ]
    table, seen = FileTable(), {""}
    for file in files:
        assert table.add(file) == (file.sha256 not in seen)
        seen.add(file.sha256)
    for sha256, measures in known.items():
        table.put(sha256, measures, "" if measures else "empty")
    expected = [
        (file, known.get(file.sha256), "empty" if known.get(file.sha256, 1) is None else "")
        for file in sorted(files)
    ]
    assert list(table) == expected
    assert list(table) == expected, "again"
    assert len(table) == len(files)


def test_a_full_disk_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    connect = sqlite3.connect

    def small(*arguments: object, **options: object) -> sqlite3.Connection:
        database = connect(*arguments, **options)  # type: ignore[call-overload]
        database.execute("PRAGMA max_page_count = 20")
        return database

    monkeypatch.setattr(sqlite3, "connect", small)
    table = FileTable()
    names = (f"{number}" * 100 for number in range(1000))
    with pytest.raises(LockstepError, match=r"disk is full; see that .*TMPDIR") as error:
        for name in names:
            table.add(File(0, "s", name, name, ""))
    assert "\n" not in str(error.value)
