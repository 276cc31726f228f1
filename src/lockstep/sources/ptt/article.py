"""The page of an article: what it says of itself, and the images that it and its pushes name."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urljoin

from bs4 import BeautifulSoup, Tag

from lockstep.core.errors import LockstepError
from lockstep.sources.ptt.links import Image, links
from lockstep.sources.ptt.names import TAIPEI
from lockstep.sources.ptt.page import read_page

BODY = "body"


@dataclass(frozen=True)
class ImageLink:
    """An image and the place that names it, `body` or `push 12`, with its author if known."""

    address: str
    place: str
    author: str | None


class NoArticle(LockstepError):
    """A page that is no article, although it stands where one should."""


@dataclass(frozen=True)
class Page:
    """What the page of an article holds; None for what it does not say."""

    title: str | None
    author: str | None
    time: str | None
    images: tuple[ImageLink, ...]
    albums: tuple[str, ...]


def parse_article(html: str, address: str) -> Page:
    """Read an article's page, which stands at `address`. Raises `NoArticle` if it is none."""
    page = read_page(html, address)
    content = page.select_one("#main-content")
    if content is None:
        raise NoArticle(
            f"{address}: not an article; run again, and if it stays, look at it in a browser: "
            "the board's markup may have changed"
        )
    # Previews have links of their own, and stand behind the push that they belong to. Where the
    # middle of a very long page is missing, a box that looks like a push says so.
    for odd in content.select(".richcontent, .warning-box"):
        odd.decompose()
    said = _meta_lines(content)
    author = (said.get("作者") or "").split(" ")[0] or None
    images: list[ImageLink] = []
    albums: list[str] = []
    for place, who, node in _places(content, author):
        for found in links(_hrefs(node, address)):
            if isinstance(found, Image):
                images.append(ImageLink(found.address, place, who))
            elif found.address not in albums:
                albums.append(found.address)
    title, time = said.get("標題") or _shared_title(page), _time(said.get("時間"))
    return Page(title, author, time, tuple(images), tuple(albums))


def _meta_lines(content: Tag) -> dict[str, str]:
    """Tag -> value of the lines above the text, which are taken out of the content."""
    said = {}
    for line in content.select(".article-metaline, .article-metaline-right"):
        tag, value = (line.select_one(f".article-meta-{part}") for part in ("tag", "value"))
        if tag is not None and value is not None:
            said[tag.get_text().strip()] = " ".join(value.get_text().split())
        line.extract()
    return said


def _places(content: Tag, author: str | None) -> Iterable[tuple[str, str | None, Tag]]:
    """(place, author, node) of the body, then of the pushes, which are taken out of it."""
    places: list[tuple[str, str | None, Tag]] = [(BODY, author, content)]
    for number, push in enumerate(content.select(".push"), 1):
        user = push.select_one(".push-userid")
        who = user.get_text().strip() if user else ""
        places.append((f"push {number}", who or None, push))
        push.extract()
    return places


def _hrefs(node: Tag, address: str) -> list[str]:
    """Where links lead. What `img` shows is a signed thumbnail that expires."""
    found = []
    for link in node.select("a[href]"):
        with suppress(ValueError):  # Not an address at all.
            found.append(urljoin(address, str(link["href"]).strip()))
    return found


def _shared_title(page: BeautifulSoup) -> str | None:
    tag = page.select_one('meta[property="og:title"]')
    return (" ".join(str(tag.get("content") or "").split()) if tag else "") or None


def _time(text: str | None) -> str | None:
    """`Mon Jan  1 08:00:00 2024`, as the board writes it in Taipei, in ISO form."""
    try:
        local = datetime.strptime(text or "", "%a %b %d %H:%M:%S %Y")
    except ValueError:
        return None
    return local.replace(tzinfo=TAIPEI).isoformat()
