"""A user's table of images' addresses, as other tools write them, as what a crawl would have found.

It is a file, or a folder of such files: Parquet, CSV or TSV with a line of names above, JSON lines,
or text with an address a line.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lockstep.config.schema import Params
from lockstep.config.sources import TABLES, TEXT
from lockstep.core import hashing, paths, tables
from lockstep.core.errors import LockstepError
from lockstep.core.processes import progress
from lockstep.core.provenance import write_provenance
from lockstep.sources.listing import IMAGES, write_list

ORIGIN = {"source": "addresses"}
_USUAL = ("url", "image_url", "address", "link")
_LONGEST = 8_000  # characters: servers take no longer addresses


@dataclass(frozen=True)
class Row:
    """A row of a table: where it stands, what it has for an address, and for a sentence."""

    place: str
    address: Any
    sentence: Any = None

    @property
    def is_address(self) -> bool:
        """Whether it is the text of an address on the web."""
        return (
            isinstance(self.address, str)
            and self.address.startswith(("http://", "https://"))
            and len(self.address) <= _LONGEST
            and not any(map(str.isspace, self.address))
        )

    @property
    def is_captioned(self) -> bool:
        """Whether it has a sentence, too."""
        return isinstance(self.sentence, str) and bool(self.sentence.split())


def check(params: Params) -> None:
    """Raises `LockstepError` if the table is not there, or of no form that is read."""
    files_of(paths.home() / str(params.crawl.table))


def crawl(params: Params, out: Path) -> None:
    """Write the list of a table's images into the folder `out`, each address once, in its order.

    With `crawl.text` each has its sentence. Says on stderr how many rows lack one of the two.
    Raises `LockstepError` if the table is not the one of
    params.yaml, or damaged, or has no address.
    """
    settings = params.crawl
    key = f"{params.workload}.crawl.table"
    table = hashing.verified(str(settings.table), settings.table_sha256, key)
    bar = progress("read addresses", "row")
    seen: set[bytes] = set()
    without: list[Row] = []
    rows = 0

    def entries() -> Iterator[dict[str, Any]]:
        nonlocal rows
        for row in bar(addresses(table, settings.column, settings.text), 0):
            rows += 1
            if not row.is_address or (settings.text is not None and not row.is_captioned):
                without.append(row)
                continue
            # Of ten million addresses themselves there is no room for all.
            digest = hashlib.blake2b(row.address.encode(), digest_size=12).digest()
            if digest not in seen:
                seen.add(digest)
                said = {} if settings.text is None else {"sentence": _plain(row.sentence)}
                yield {"address": row.address, "named_by": [], **said}

    count = write_list(out / IMAGES, entries())
    if without:
        first = without[0]
        lacking = "no address" if settings.text is None else "no address or no sentence"
        print(
            f"{table}: {len(without)} of {rows} rows have {lacking} (the first: {first.place}: "
            f"{str(first.address)[:80]!r})",
            file=sys.stderr,
        )
    if not count:
        raise LockstepError(
            f"{table}: no address that begins with http:// or https:// in {rows} rows; see "
            "crawl.column"
        )
    decided = {"crawl.table": table.name, "crawl.table_sha256": settings.table_sha256}
    read = {"crawl.column": settings.column, "crawl.text": settings.text}
    write_provenance(out, {**decided, **read}, origin=ORIGIN)


def _plain(sentence: str) -> str:
    """With single spaces, and without the half characters that some tables have."""
    return " ".join(sentence.encode(errors="ignore").decode().split())


def files_of(table: Path) -> list[Path]:
    """The files of a table, in order. Raises `LockstepError` if there is none that is read."""
    if not table.exists():
        raise LockstepError(f"{table}: no such file or folder; see crawl.table")
    found = [table] if table.is_file() else sorted(p for p in table.iterdir() if p.is_file())
    files = [path for path in found if path.suffix.lower() in TABLES]
    if not files:
        raise LockstepError(f"{table}: no table of addresses ({', '.join(TABLES)}); name another")
    return files


def column_of(table: Path, given: str | None) -> str:
    """The column that has the addresses: the given one, or one that is called so.

    Raises `LockstepError` if there is none, or the table cannot be read.
    """
    first = files_of(table)[0]
    if given is not None or first.suffix.lower() == TEXT:
        return given or _USUAL[0]
    names = tables.columns(first)
    for usual in _USUAL:
        for name in names:
            if name.lower() == usual:
                return name
    listed = ", ".join(map(repr, names)) or "none"
    raise LockstepError(
        f"{table}: none of its columns ({listed}) is called {_USUAL[0]}; name it with --column"
    )


def addresses(table: Path, column: str, text: str | None = None) -> Iterator[Row]:
    """The rows of a table, read one after the other.

    `column` is the name of the addresses' column, and `text` that of the sentences; a text file has
    neither. Raises `LockstepError` if a file has no such column, or is damaged.
    """
    wanted = {"crawl.column": column} | ({} if text is None else {"crawl.text": text})
    for path in files_of(table):
        if path.suffix.lower() == TEXT:
            if text is not None:
                raise LockstepError(f"{path}: has addresses alone; empty crawl.text")
            yield from (Row(place, line) for place, line in tables.lines(path))
            continue
        names = tables.columns(path)
        for key, name in wanted.items():
            if name not in names:
                listed = ", ".join(map(repr, names)) or "none"
                raise LockstepError(f"{path}: no column {name!r} (it has {listed}); set {key}")
        for place, row in tables.rows(path, [*wanted.values()]):
            yield Row(place, *(row[name] for name in wanted.values()))
