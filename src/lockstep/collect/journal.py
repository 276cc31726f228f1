"""What unfinished work has got so far: a table of texts on disk that outlives a kill.

It stands in the scratch folder, under a name that says what the work is; whoever starts the same
work again finds there what it need not ask for a second time.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lockstep.errors import LockstepError


class Journal:
    """Text by key. An entry is there as soon as `put` returns. For one thread."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def get(self, key: str) -> str | None:
        """The text put under `key`, or None."""
        found = self._database.execute("SELECT value FROM entry WHERE key = ?", (key,)).fetchone()
        return None if found is None else zlib.decompress(found[0]).decode()

    def put(self, key: str, text: str) -> None:
        """Write an entry; it takes the place of an earlier one."""
        value = zlib.compress(text.encode())
        self._database.execute("INSERT OR REPLACE INTO entry VALUES (?, ?)", (key, value))

    def remove(self, key: str) -> None:
        """Forget an entry, if there is one."""
        self._database.execute("DELETE FROM entry WHERE key = ?", (key,))


@contextmanager
def journal(path: Path) -> Iterator[Journal]:
    """Open the journal at `path`, or begin one. Raises `LockstepError` if it is damaged."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # No transactions of its own: each statement is one, written whole or not at all.
    database = sqlite3.connect(path, isolation_level=None)
    try:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = NORMAL")
        database.execute("CREATE TABLE IF NOT EXISTS entry (key TEXT PRIMARY KEY, value BLOB)")
        yield Journal(database)
    except sqlite3.DatabaseError as error:
        raise LockstepError(f"{path}: not usable ({error}); delete it to begin anew") from None
    finally:
        database.close()
