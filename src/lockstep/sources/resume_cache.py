"""What unfinished work has got so far: a table of texts on disk that outlives a kill."""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from lockstep.core.errors import LockstepError
from lockstep.core.lock import exclusive


class ResumeCache:
    """Text by key. An entry is there as soon as `put` returns. For one thread.

    Each method raises `LockstepError` if the file at `path` does not let it.
    """

    def __init__(self, path: Path, database: sqlite3.Connection) -> None:
        self._path = path
        self._database = database

    def get(self, key: str) -> str | None:
        """The text put under `key`, or None."""
        with _named(self._path):
            rows = self._database.execute("SELECT value FROM entry WHERE key = ?", (key,))
            found = rows.fetchone()
            return None if found is None else zlib.decompress(found[0]).decode()

    def put(self, key: str, text: str) -> None:
        """Write an entry; it takes the place of an earlier one."""
        value = zlib.compress(text.encode())
        with _named(self._path):
            self._database.execute("INSERT OR REPLACE INTO entry VALUES (?, ?)", (key, value))

    def remove(self, key: str) -> None:
        """Forget an entry, if there is one."""
        with _named(self._path):
            self._database.execute("DELETE FROM entry WHERE key = ?", (key,))


@contextmanager
def open_cache(path: Path) -> Iterator[ResumeCache]:
    """Open the cache at `path`, or begin one. Raises `LockstepError` if that cannot be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _named(path):
        # No transactions of its own: each statement is one, written whole or not at all.
        database = sqlite3.connect(path, isolation_level=None)
    with closing(database):
        with _named(path):
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = NORMAL")
            database.execute("CREATE TABLE IF NOT EXISTS entry (key TEXT PRIMARY KEY, value BLOB)")
        yield ResumeCache(path, database)


@contextmanager
def exclusive_cache(folder: Path, doing: str) -> Iterator[ResumeCache]:
    """The cache of the work whose files are in `folder`, while no other process has it.

    If one has, stderr says what it is `doing`.
    """
    with (
        exclusive(folder.with_name(f"{folder.name}.lock"), doing),
        open_cache(folder / "journal.db") as cache,
    ):
        yield cache


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """What goes wrong in the block is told of the cache at `path`, with the fix."""
    try:
        yield
    # TypeError: a damaged row may have a number, or nothing, in place of bytes.
    except (sqlite3.DatabaseError, zlib.error, TypeError, UnicodeError) as error:
        # The low byte says what it is, the others more of it.
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
        if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
            raise LockstepError(f"{path}: damaged ({error}); delete it to begin anew") from None
        raise LockstepError(
            f"{path}: not usable now ({error}); see that the disk has room and nothing else uses "
            "the file, then run again"
        ) from None
