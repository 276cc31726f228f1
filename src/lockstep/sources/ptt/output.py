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
from lockstep.sources.listing import write_lines, write_list
from lockstep.sources.names import IMAGES
from lockstep.sources.ptt.crawl import Article

ARTICLES = "articles.jsonl"

_FIELDS = ("id", "title", "author", "time", "pushes", "url", "albums")


def write(folder: Path, articles: Iterable[Article]) -> tuple[int, int]:
    """Write both files as the articles come; gives the number of articles and of images.

    What was named is held on disk until the end, so that memory does not grow with the board.

    Raises
    ------
    LockstepError
        If there is no article, or none with an image, or no room for what is held on disk.
    """
    try:
        article_count, image_count = _write(folder, articles)
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


def _write(folder: Path, articles: Iterable[Article]) -> tuple[int, int]:
    # A database without a name is a temporary file.
    with closing(sqlite3.connect("")) as database:
        database.execute(
            "CREATE TABLE mention (address TEXT, article TEXT, place TEXT, author TEXT)"
        )

        def entries() -> Iterator[dict[str, Any]]:
            for article in articles:
                database.executemany(
                    "INSERT INTO mention VALUES (?, ?, ?, ?)",
                    [(m.address, article.id, m.place, m.author) for m in article.images],
                )
                yield {name: getattr(article, name) for name in _FIELDS}

        article_count = write_lines(folder / ARTICLES, entries())
        return article_count, write_list(folder / IMAGES, _merged(database))


def _merged(database: sqlite3.Connection) -> Iterator[dict[str, Any]]:
    mentions = database.execute(
        "SELECT address, article, place, author FROM mention"
        " JOIN (SELECT address, MIN(rowid) AS first FROM mention GROUP BY address) USING (address)"
        " ORDER BY first, mention.rowid"
    )
    for address, group in groupby(mentions, key=lambda mention: mention[0]):
        named_by = [
            {"article": article, "place": place, "author": author}
            for _, article, place, author in group
        ]
        yield {"address": address, "named_by": named_by}
