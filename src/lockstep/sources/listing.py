"""JSON files with a list in them, written and read an entry at a time.

A list has an entry a line: it is an ordinary JSON file, and 100,000 entries need no memory.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from lockstep.core.errors import LockstepError

IMAGES = "images.json"
"""The list of images' addresses that a crawl leaves to the download."""
MANIFEST = "manifest.jsonl"
"""The lines on images that the download leaves to `collect`."""


def write_list(path: Path, entries: Iterable[Any]) -> int:
    """Write a JSON list; gives the number of entries."""
    count = 0
    with path.open("w", encoding="utf-8") as file:
        file.write("[")
        for entry in entries:
            file.write(f"{',' if count else ''}\n{json.dumps(entry, ensure_ascii=False)}")
            count += 1
        file.write("\n]\n")
    return count


def read_list(path: Path) -> Iterator[Any]:
    """The entries of what `write_list` wrote. Raises `LockstepError` if it is not that."""
    for line in _lines(path):
        text = line.strip()
        if text not in ("[", "]"):
            yield _entry(path, text.removesuffix(","))


def write_lines(path: Path, entries: Iterable[Any]) -> int:
    """Write JSON lines; gives the number of entries."""
    count = 0
    with path.open("w", encoding="utf-8") as file:
        for entry in entries:
            file.write(json.dumps(entry, ensure_ascii=False) + "\n")
            count += 1
    return count


def read_lines(path: Path) -> Iterator[Any]:
    """The entries of a file of JSON lines. Raises `LockstepError` if it is not that."""
    for line in _lines(path):
        yield _entry(path, line)


def _lines(path: Path) -> Iterator[str]:
    try:
        with path.open(encoding="utf-8") as file:
            yield from file
    except FileNotFoundError:
        raise LockstepError(f"{path}: missing; `dvc repro` makes it") from None
    except UnicodeDecodeError as error:
        raise LockstepError(f"{path}: damaged ({error}); `dvc checkout` restores it") from None


def _entry(path: Path, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise LockstepError(f"{path}: damaged ({error}); `dvc checkout` restores it") from None
