"""A user's table of images' addresses, as other tools write them, as what a crawl would have found.

It is a file, or a folder of such files: Parquet, CSV or TSV with a line of names above, JSON lines;
or a text with an address a line.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lockstep.config.schema import Params
from lockstep.core import hashing, tables
from lockstep.core.errors import LockstepError
from lockstep.core.processes import progress
from lockstep.core.provenance import write_provenance
from lockstep.sources.listing import IMAGES, write_list

ORIGIN = {"source": "addresses"}
SETTINGS = ("crawl.column", "crawl.text_column")
"""What names the columns, for messages."""
_USUAL = ("url", "image_url", "address", "link")
_LONGEST = 8_000  # characters: servers take no longer addresses


@dataclass(frozen=True)
class Row:
    """A row of a table: where it stands, and what it has for an address and for a sentence.

    The address is empty if there is none, and so is the sentence.
    """

    place: str
    address: str
    sentence: str


def check(params: Params) -> None:
    """Nothing: a table that is not on this machine must not stop the other workloads."""


def crawl(params: Params, out: Path) -> None:
    """Write the list of a table's images into the folder `out`, each address once, in its order.

    With `crawl.text_column` each has its sentence. Says on stderr how many rows lack one of the
    two. Raises `LockstepError` if the table is not the one of params.yaml, or damaged, or has no
    address.
    """
    settings = params.crawl
    key = f"{params.workload}.crawl.table"
    table = hashing.verified(str(settings.table), settings.table_sha256, key)
    bar = progress("read addresses", "row")
    wants_text = settings.text_column is not None
    seen: set[bytes] = set()
    rows, without, first = 0, 0, ""

    def entries() -> Iterator[dict[str, Any]]:
        nonlocal rows, without, first
        for row in bar(addresses(table, settings.column, settings.text_column), 0):
            rows += 1
            if not row.address or (wants_text and not row.sentence):
                without += 1
                first = first or row.place
                continue
            # Of ten million addresses themselves there is no room for all.
            digest = hashlib.blake2b(row.address.encode(), digest_size=12).digest()
            if digest not in seen:
                seen.add(digest)
                said = {"sentence": row.sentence} if wants_text else {}
                yield {"address": row.address, "named_by": [], **said}

    count = write_list(out / IMAGES, entries())
    lacking = "no address or no sentence" if wants_text else "no address"
    if not count:
        which = "crawl.column and crawl.text_column" if wants_text else "crawl.column"
        raise LockstepError(f"{table}: all of {rows} rows have {lacking}; see {which}")
    if without:
        print(f"{table}: {without} of {rows} rows have {lacking}, first {first}", file=sys.stderr)
    decided = {"crawl.table": table.name, "crawl.table_sha256": settings.table_sha256}
    is_text = tables.files(table)[0].suffix.lower() == tables.TEXT
    decided["crawl.column"] = None if is_text else settings.column
    decided["crawl.text_column"] = settings.text_column
    write_provenance(out, decided, origin=ORIGIN)


def column_of(table: Path, given: str | None) -> str:
    """The column that has the addresses: the given one, or one that is called so.

    Raises `LockstepError` if there is none, or the table cannot be read.
    """
    first = _files(table)[0]
    if first.suffix.lower() == tables.TEXT:
        if given is not None:
            raise LockstepError(f"--column: {table} is a text, which has none; leave it out")
        return _USUAL[0]
    if given is not None:
        return given
    names = tables.columns(first)
    for usual in _USUAL:
        for name in names:
            if name.lower() == usual:
                return name
    raise LockstepError(
        f"{table}: none of its columns ({_listed(names)}) is called {_USUAL[0]}; name it with "
        "--column"
    )


def addresses(
    table: Path, column: str, text: str | None = None, said_by: tuple[str, str] = SETTINGS
) -> Iterator[Row]:
    """The rows of a table, read one after the other.

    `column` is the name of the addresses' column, and `text` that of the sentences; a text file has
    neither. Raises `LockstepError` if a file has no such column, or is damaged; `said_by` is what
    has named the two.
    """
    wanted = [column] if text is None else [column, text]
    for path in _files(table):
        if path.suffix.lower() == tables.TEXT:
            if text is not None:
                raise LockstepError(f"{said_by[1]}: {path} has addresses alone; leave it out")
            yield from (Row(place, _address(line), "") for place, line in tables.lines(path))
            continue
        names = tables.columns(path)
        for key, name in zip(said_by, wanted, strict=False):
            if name not in names:
                raise LockstepError(
                    f"{path}: no column {name!r} (it has {_listed(names)}); see {key}"
                )
        for place, row in tables.rows(path, wanted):
            sentence = "" if text is None else _sentence(row[text])
            yield Row(place, _address(row[column]), sentence)


def _files(table: Path) -> list[Path]:
    if not table.exists():
        raise LockstepError(f"{table}: no such file or folder; see crawl.table")
    found = tables.files(table)
    if not found:
        endings = ", ".join((*tables.ENDINGS, tables.TEXT))
        raise LockstepError(f"{table}: no table of addresses ({endings}); name another")
    return found


def _listed(names: list[str]) -> str:
    return ", ".join(map(repr, names)) or "none"


def _address(value: Any) -> str:
    """An address on the web; empty if it is none."""
    address = value.strip() if isinstance(value, str) else ""
    scheme, colon, rest = address.partition(":")
    address = scheme.lower() + colon + rest
    is_one = address.startswith(("http://", "https://")) and len(address) <= _LONGEST
    # Not printable: halves of characters too, which no file takes.
    return address if is_one and address.isprintable() and " " not in address else ""


def _sentence(value: Any) -> str:
    """With single spaces, and without the halves of characters that some tables have."""
    text = value.encode(errors="ignore").decode() if isinstance(value, str) else ""
    return " ".join(text.split())
