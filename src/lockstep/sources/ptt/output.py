"""What a crawl leaves: articles, and the images they name, each address once.

`articles.jsonl` has an article a line, the newest first: id, title, author, time, pushes, url and
albums (addresses of pages with several images, which are not fetched). `images.json` is a list
of `{"address": ..., "named_by": [{"article", "place", "author"}, ...]}` in the order in which the
addresses were first named.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from itertools import groupby
from pathlib import Path
from typing import Any

from lockstep.core.errors import LockstepError
from lockstep.sources.listing import IMAGES, write_lines, write_list
from lockstep.sources.ptt.crawl import Article

ARTICLES = "articles.jsonl"

_FIELDS = ("id", "title", "author", "time", "pushes", "url", "albums")


def write(folder: Path, articles: Iterable[Article]) -> tuple[int, int]:
    """Write both files as the articles come; gives the number of articles and of images.

    What was named is held on disk until the end, so that memory does not grow with the board.

    Raises `LockstepError` if there is no image, or no room for what is held on disk.
    """
    try:
        with closing(sqlite3.connect("")) as database:  # Without a name: a temporary file.
            database.execute(
                "CREATE TABLE link (address TEXT, article TEXT, place TEXT, author TEXT)"
            )
            rows = _rows(articles, database)
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


def _rows(articles: Iterable[Article], database: sqlite3.Connection) -> Iterator[dict[str, Any]]:
    """The lines of articles, whose links to images go into the database on the way."""
    for article in articles:
        database.executemany(
            "INSERT INTO link VALUES (?, ?, ?, ?)",
            [(link.address, article.id, link.place, link.author) for link in article.images],
        )
        yield {name: getattr(article, name) for name in _FIELDS}


def _merged(database: sqlite3.Connection) -> Iterator[dict[str, Any]]:
    links = database.execute(
        "SELECT address, article, place, author FROM link"
        " JOIN (SELECT address, MIN(rowid) AS first FROM link GROUP BY address) USING (address)"
        " ORDER BY first, link.rowid"
    )
    names = ("article", "place", "author")
    for address, group in groupby(links, key=lambda link: link[0]):
        yield {
            "address": address,
            "named_by": [dict(zip(names, row[1:], strict=True)) for row in group],
        }
