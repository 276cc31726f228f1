"""The project's own records with wrong bytes: caches, dvc.lock, lists, tables, provenance."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from collecting import contents
from fuzzing import damaged, one_line, spliced
from lockstep.core.errors import LockstepError
from lockstep.core.files import read_csv, write_csv
from lockstep.core.provenance import FILE, read_provenance, write_provenance
from lockstep.sources import outcomes
from lockstep.sources.listing import MANIFEST, read_lines, read_list, write_list
from lockstep.sources.ptt.export import FORMATS, read_links
from lockstep.sources.ptt.output import LINKS
from lockstep.sources.resume_cache import open_cache
from lockstep.tracking import dvc_lock

_ALL = settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])


def _reads(path: Path, read: Callable[[], Any]) -> None:
    """What is read, or one line that names the file; nothing is written."""
    before = contents(path.parent)
    try:
        read()
    except LockstepError as error:
        assert path.name in one_line(error)
    assert contents(path.parent) == before


# --- caches


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("cache") / "journal.db"
    with open_cache(path) as opened:
        for number in range(40):
            opened.put(f"key {number}", f"text {number} " * number)
    return path.read_bytes()


@pytest.mark.drill(
    "Damage",
    "bytes of a resume cache are changed",
    "what is left is used, or one line names it",
)
@_ALL
@given(st.data())
def test_a_damaged_cache_gives_texts_or_is_named(
    tmp_path: Path, cache: bytes, data: st.DataObject
) -> None:
    path = tmp_path / "journal.db"
    for file in tmp_path.iterdir():
        file.unlink()
    # Where a row's own header is, a byte turns its value into a number or nothing.
    at = data.draw(st.integers(0, len(cache) - 200))
    whole = cache[:at] + data.draw(damaged(cache[at : at + 200], 3)) + cache[at + 200 :]
    path.write_bytes(whole)
    try:
        with open_cache(path) as opened:
            for key in ("key 1", "key 20", "new"):
                assert isinstance(opened.get(key), str | None)
                opened.put(key, "x")
                opened.remove(key)
    except LockstepError as error:
        assert one_line(error).startswith(f"{path}: ")
    assert {file.name for file in tmp_path.iterdir()} <= {
        path.name,
        "journal.db-wal",
        "journal.db-shm",
    }


@pytest.mark.parametrize("value", ["a text", 5, None, 1.5, b"x", b""], ids=repr)
def test_a_value_that_is_none_is_damage(tmp_path: Path, value: object) -> None:
    with open_cache(tmp_path / "journal.db") as opened:
        opened._database.execute("INSERT INTO entry VALUES ('a', ?)", (value,))
        with pytest.raises(LockstepError, match=r"journal.db: damaged .*; delete it to begin anew"):
            opened.get("a")


# --- dvc.lock

_LOCK = {
    "schema": "2.0",
    "stages": {
        "sample@faces": {
            "cmd": "python stages/sample.py faces",
            "deps": [{"path": "models/faces", "hash": "md5", "md5": "a" * 32, "size": 5}],
            "params": {"params.yaml": {"faces.sample": {"steps": 5}}},
            "outs": [{"path": "samples/faces", "hash": "md5", "md5": "b" * 32, "nfiles": 3}],
        },
        "evaluate@faces": {"deps": [{"path": "samples/faces", "md5": "c" * 32}]},
    },
}
_ODD_LINES = (
    *(
        "<<<<<<< HEAD\n",
        "=======\n",
        ">>>>>>> main\n",
        "\t",
        "\0",
        "stages:\n",
        "stages: x\n",
        "- x\n",
    ),
    *(
        "  a:\n",
        "    outs:\n",
        "    deps: 5\n",
        "    - path: [a]\n",
        "      md5: {a: b}\n",
        "*a\n",
        "&a\n",
    ),
    *(
        "a: !!timestamp x\n",
        "a: !!python/object/apply:os.system [touch pwned]\n",
        "[" * 99,
        "%\n",
        "? x\n",
    ),
)


@_ALL
@given(st.data())
def test_dvc_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: st.DataObject) -> None:
    monkeypatch.chdir(tmp_path)
    lines = yaml.safe_dump(_LOCK).splitlines(keepends=True)
    whole = "".join(data.draw(spliced(lines, _ODD_LINES))).encode()
    Path("dvc.lock").write_bytes(data.draw(damaged(whole)) if data.draw(st.booleans()) else whole)
    _reads(tmp_path / "dvc.lock", lambda: dvc_lock.load().outdated("evaluate@faces"))


# --- lists, tables, provenance

_LINK = {
    "article": "M.1700000000.A.1B2",
    "place": "body",
    "author": "me",
    "written": "https://x/a.jpg",
    "addresses": ["https://x/a.jpg"],
}
_ODD = [
    *(
        "{}\n",
        "[]\n",
        "null\n",
        "5\n",
        "\n",
        "[" * 3000,
        '{"article": 5}\n',
        '{"article": "x"}\n',
        "\0",
    ),
    *(
        json.dumps({**_LINK, "article": a}) + "\n"
        for a in ("M.9999999999999.A", "M..A", "M", None, [])
    ),
    *(json.dumps({**_LINK, name: 5}) + "\n" for name in ("addresses", "written", "place")),
]


@_ALL
@given(st.data())
@example(b"\xff").via("a byte that is no UTF-8 was a UnicodeDecodeError")
@example(json.dumps({**_LINK, "addresses": 5}).encode()).via("a number for a list was a TypeError")
def test_links(tmp_path: Path, data: st.DataObject | bytes) -> None:
    whole = (json.dumps(_LINK) + "\n").encode() * 3
    if isinstance(data, bytes):
        whole = data + b"\n" + whole
    else:
        lines = data.draw(spliced(whole.decode().splitlines(keepends=True), _ODD))
        whole = "".join(lines).encode()
        whole = data.draw(damaged(whole)) if data.draw(st.booleans()) else whole
    (tmp_path / LINKS).write_bytes(whole)
    write_provenance(tmp_path, {"crawl.start": "2024-01-01", "crawl.end": "2024-01-02"})
    for write in FORMATS.values():
        _reads(
            tmp_path / LINKS,
            lambda write=write: write(read_links(tmp_path, None, None), io.StringIO()),
        )


@_ALL
@given(st.data())
def test_lists_tables_and_provenance(tmp_path: Path, data: st.DataObject) -> None:
    write_list(tmp_path / "images.json", [{"address": "x", "named_by": []}] * 3)
    write_csv(tmp_path / outcomes.DECISIONS, [{"path": "é,\n", "decision": "kept", "x": 1.5}] * 3)
    write_csv(tmp_path / "table.csv", [{"step": 1, "loss": float("nan")}] * 2)
    (tmp_path / MANIFEST).write_text('{"a": 1}\n')
    (tmp_path / outcomes.FAILED).write_text("x\ty\n")
    write_provenance(tmp_path, {"a": 1}, b=[2])
    reads: dict[str, Callable[[], Any]] = {
        "images.json": lambda: list(read_list(tmp_path / "images.json")),
        outcomes.DECISIONS: lambda: outcomes.decided(tmp_path, "folder"),
        "table.csv": lambda: read_csv(tmp_path / "table.csv"),
        MANIFEST: lambda: (outcomes.fetched(tmp_path), list(read_lines(tmp_path / MANIFEST))),
        outcomes.FAILED: lambda: outcomes.fetched(tmp_path),
        FILE: lambda: read_provenance(tmp_path),
    }
    name = data.draw(st.sampled_from(sorted(reads)))
    whole = (tmp_path / name).read_bytes()
    odd = data.draw(
        st.sampled_from([b"", b"\xff", b'"', b"\0", b"\r", b"[]\n", b"{}\n", b"null\n"])
    )
    where = data.draw(st.sampled_from([0, len(whole) // 2, len(whole)]))
    (tmp_path / name).write_bytes(data.draw(damaged(whole[:where] + odd + whole[where:])))
    _reads(tmp_path / name, reads[name])
