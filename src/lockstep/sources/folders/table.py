"""The files that were found and what was read of them, on disk: memory does not grow with them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass

from lockstep.core.errors import LockstepError
from lockstep.sources.folders.read import Measures

_TABLES = """
PRAGMA journal_mode = OFF;
CREATE TABLE file (rank INTEGER, source TEXT, path TEXT, sha256 TEXT, refused TEXT);
CREATE TABLE image (
    sha256 TEXT PRIMARY KEY, width INTEGER, height INTEGER, contrast REAL, hash TEXT, broken TEXT
) WITHOUT ROWID;
"""
# Rows are read again and again: they are sorted and joined once.
_SORTED = """
CREATE TABLE IF NOT EXISTS sorted AS
SELECT file.*, width, height, contrast, hash, broken FROM file LEFT JOIN image USING (sha256)
ORDER BY rank, source, path, sha256, refused
"""


@dataclass(frozen=True, order=True, slots=True)
class File:
    """A file of a source, ordered by its source's number and its path there.

    `sha256` is empty if it was not read; `refused` says why.
    """

    rank: int
    source: str
    path: str
    sha256: str
    refused: str

    @property
    def place(self) -> str:
        """How `exclude.txt` names it."""
        return f"{self.source}:{self.path}"

    @property
    def names(self) -> frozenset[str]:
        """All by which `exclude.txt` may name it."""
        return frozenset({self.place, self.sha256} - {""})


class FileTable:
    """Files, and what was read of those with the same bytes once. For one thread.

    All files are added before the first one is read. Each method raises `LockstepError` if the disk
    has no room.
    """

    def __init__(self) -> None:
        # A file without a name in the system's temporary folder, which ends with this process.
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.executescript(_TABLES)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, file: File) -> bool:
        """Note a file; whether it was read, and no file before it had its bytes."""
        self._count += 1
        with _told():
            self._database.execute("INSERT INTO file VALUES (?, ?, ?, ?, ?)", astuple(file))
            if not file.sha256:
                return False
            new = self._database.execute(
                "INSERT OR IGNORE INTO image (sha256) VALUES (?)", (file.sha256,)
            )
            return new.rowcount == 1

    def put(self, sha256: str, measures: Measures | None, broken: str) -> None:
        """Note what was read of a file that has been added: figures, or why it is no image."""
        figures = (None,) * 4 if measures is None else astuple(measures)
        with _told():
            self._database.execute(
                "UPDATE image SET width = ?, height = ?, contrast = ?, hash = ?, broken = ? "
                "WHERE sha256 = ?",
                (*figures, broken, sha256),
            )

    def __iter__(self) -> Iterator[tuple[File, Measures | None, str]]:
        """Each file in its order, what was read of it, and why it is no image if it is none."""
        with _told():
            self._database.execute(_SORTED)
            for row in self._database.execute("SELECT * FROM sorted ORDER BY rowid"):
                file, figures, broken = row[:5], row[5:9], row[9]
                measures = None if figures[0] is None else Measures(*figures)
                yield File(*file), measures, broken or ""


@contextmanager
def _told() -> Iterator[None]:
    """What goes wrong in the block is told in one line, with the fix."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        raise LockstepError(
            f"the table of files found: {error}; see that the folder of temporary files (TMPDIR) "
            "has room, then run again"
        ) from None
