"""Articles' file names, and the time in them.

The time is the one thing on a board that nobody edits.
"""

from __future__ import annotations

import re
from datetime import date, datetime, time, timedelta, timezone

ARTICLE = r"[MG]\.\d{1,10}\.A(?:\.[0-9A-Fa-f]{1,8})?"
"""An article's id, as a regular expression: `M.<unix seconds>.A.<hex>`, `G.` if kept for good.

Those from before 2005 have no `<hex>`.
"""
TAIPEI = timezone(timedelta(hours=8), "Asia/Taipei")
"""Taiwan has had no summer time since 1979."""

_ARTICLE = re.compile(rf"(?:.*/)?({ARTICLE})\.html$")


def article_id(address: str) -> str | None:
    """`M.1704067200.A.5F3` of `/bbs/Beauty/M.1704067200.A.5F3.html`; None if it is no article."""
    found = _ARTICLE.match(address)
    return found and found[1]


def written_at(article: str) -> int:
    """Unix time in the name of an article, in seconds."""
    return int(article.split(".")[1])


def in_taipei(seconds: int) -> str:
    """Unix seconds as `2024-01-01T08:00:00+08:00`."""
    return datetime.fromtimestamp(seconds, TAIPEI).isoformat()


def day_begins(day: date) -> int:
    """Unix time at which a day begins in Taipei, in seconds."""
    return int(datetime.combine(day, time(), TAIPEI).timestamp())
