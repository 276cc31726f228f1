"""What a crawl leaves: articles, what they link to, and the images, each address once.

`articles.jsonl` has an article a line, the newest first: id, title, author, time, pushes, url and
albums (addresses of pages with several images, which are not fetched). `links.jsonl` has a line for
each address that leads to an image, in the order of the articles and of their texts, with repeats:
article, place, author, `written` (as it stands there) and `addresses` (those of the images).
`images.json` is a list of `{"address": ..., "named_by": [{"article", "place", "author"}, ...]}` in
the order in which the addresses were first named. `failed.txt` has the articles that could not be
read: address, tab, reason.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from itertools import groupby
from pathlib import Path
from typing import Any, TextIO

from lockstep.core.errors import LockstepError
from lockstep.sources.listing import IMAGES, write_lines, write_list
from lockstep.sources.ptt.crawl import Article, Failure

ARTICLES = "articles.jsonl"
LINKS = "links.jsonl"
FAILED = "failed.txt"

_FIELDS = ("id", "title", "author", "time", "pushes", "url", "albums")
# Numbers of addresses grow in the order in which they are first named.
_TABLES = """
CREATE TABLE address (number INTEGER PRIMARY KEY, address TEXT UNIQUE);
CREATE TABLE link (number INTEGER, article TEXT, place TEXT, author TEXT);
"""
_INDEX = "CREATE INDEX by_number ON link (number)"


def write(folder: Path, results: Iterable[Article | Failure]) -> tuple[int, int]:
    """Write all files as the articles come; gives the number of articles and of images.

    What was named is held on disk until the end, so that memory does not grow with the board.

    Raises `LockstepError` if there is no image, or no room for what is held on disk.
    """
    try:
        with (
            closing(sqlite3.connect("")) as database,  # Without a name: a temporary file.
            (folder / LINKS).open("w", encoding="utf-8") as links,
            (folder / FAILED).open("w", encoding="utf-8") as failed,
        ):
            database.executescript(_TABLES)
            rows = _rows(results, database, links, failed)
            article_count = write_lines(folder / ARTICLES, rows)
            image_count = write_list(folder / IMAGES, _merged(database))
    except sqlite3.OperationalError as error:
        raise LockstepError(
            f"temporary database: {error}; make room where temporary files are (TMPDIR) and run "
            "again"
        ) from None
    if image_count == 0:
        raise LockstepError(
            f"crawl: {article_count} articles found, no image in them; choose other days in "
            "crawl.start and crawl.end, or a lower crawl.min_pushes"
        )
    return article_count, image_count


def _rows(
    results: Iterable[Article | Failure],
    database: sqlite3.Connection,
    links: TextIO,
    failed: TextIO,
) -> Iterator[dict[str, Any]]:
    """The lines of articles. On the way, what else there is goes where it belongs."""
    for result in results:
        if isinstance(result, Failure):
            failed.write(f"{result.address}\t{' '.join(result.reason.split())}\n")
            continue
        for mention in result.mentions:
            line = {
                "article": result.id,
                "place": mention.place,
                "author": mention.author,
                "written": mention.written,
                "addresses": list(mention.images),
            }
            links.write(json.dumps(line, ensure_ascii=False) + "\n")
        images = result.images
        database.executemany(
            "INSERT OR IGNORE INTO address (address) VALUES (?)",
            [(image.address,) for image in images],
        )
        database.executemany(
            "INSERT INTO link SELECT number, ?, ?, ? FROM address WHERE address = ?",
            [(result.id, image.place, image.author, image.address) for image in images],
        )
        yield {name: getattr(result, name) for name in _FIELDS}


def _merged(database: sqlite3.Connection) -> Iterator[dict[str, Any]]:
    database.execute(_INDEX)
    links = database.execute(
        "SELECT address, article, place, author FROM link JOIN address USING (number)"
        " ORDER BY number, link.rowid"
    )
    names = ("article", "place", "author")
    for address, group in groupby(links, key=lambda link: link[0]):
        yield {
            "address": address,
            "named_by": [dict(zip(names, row[1:], strict=True)) for row in group],
        }
