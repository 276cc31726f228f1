"""The page of an article: what it says of itself, and the images that it and its pushes name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from urllib.parse import urljoin

from bs4 import BeautifulSoup, NavigableString, Tag

from lockstep.core.errors import LockstepError
from lockstep.sources.ptt.links import Album, Image
from lockstep.sources.ptt.page import read_page
from lockstep.sources.ptt.text import Found, Word, find_in, find_in_pushes

BODY = "body"


@dataclass(frozen=True)
class Mention:
    """An address as it was written, and the images that it leads to: mostly one.

    `place` is where it stands, `body` or `push 12`, `author` who wrote that, if known.
    """

    written: str
    images: tuple[str, ...]
    place: str
    author: str | None


@dataclass(frozen=True)
class ImageLink:
    """An image and a place that names it, with its author if known."""

    address: str
    place: str
    author: str | None


class NoArticle(LockstepError):
    """A page that is no article, although it stands where one should."""


@dataclass(frozen=True)
class Page:
    """What the page of an article holds; None for what it does not say.

    `is_cut` says that the board leaves out the middle of a long one.
    """

    title: str | None
    author: str | None
    mentions: tuple[Mention, ...]
    albums: tuple[str, ...]
    is_cut: bool

    @property
    def images(self) -> tuple[ImageLink, ...]:
        """The images named, each once a place."""
        return image_links(self.mentions)


def image_links(mentions: Iterable[Mention]) -> tuple[ImageLink, ...]:
    """The images of mentions, in their order, each once a place."""
    return tuple(
        dict.fromkeys(
            ImageLink(address, mention.place, mention.author)
            for mention in mentions
            for address in mention.images
        )
    )


def parse_article(html: str, address: str) -> Page:
    """Read an article's page, which stands at `address`. Raises `NoArticle` if it is none."""
    page = read_page(html, address)
    content = page.select_one("#main-content")
    if content is None:
        raise NoArticle(
            f"{address}: not an article; run again, and if it stays, look at it in a browser: "
            "the board's markup may have changed"
        )
    # Where the middle of a very long page is missing, a box that looks like a push says so.
    boxes = content.select(".warning-box")
    # Previews have links of their own, and stand behind the push that they belong to.
    for odd in (*boxes, *content.select(".richcontent")):
        odd.decompose()
    said = _meta_lines(content)
    author = (said.get("作者") or "").split(" ")[0] or None
    mentions: list[Mention] = []
    albums: dict[str, None] = {}
    for place, who, found in _places(content, author, address):
        for written, links in found:
            albums |= {link.address: None for link in links if isinstance(link, Album)}
            images = tuple(link.address for link in links if isinstance(link, Image))
            if images:
                mentions.append(Mention(written, images, place, who))
    title = said.get("標題") or _shared_title(page)
    return Page(title, author, tuple(mentions), tuple(albums), bool(boxes))


def _meta_lines(content: Tag) -> dict[str, str]:
    """Tag -> value of the lines above the text, which are taken out of the content."""
    said = {}
    for line in content.select(".article-metaline, .article-metaline-right"):
        tag, value = (line.select_one(f".article-meta-{part}") for part in ("tag", "value"))
        if tag is not None and value is not None:
            said[tag.get_text().strip()] = " ".join(value.get_text().split())
        line.extract()
    return said


def _places(
    content: Tag, author: str | None, address: str
) -> Iterator[tuple[str, str | None, list[Found]]]:
    """(place, author, addresses) of the body, then of the pushes."""
    pushes: list[tuple[str | None, list[Word]]] = []
    for push in content.select(".push"):
        user = push.select_one(".push-userid")
        who = user.get_text().strip() if user else ""
        for beside in push.select(".push-tag, .push-userid, .push-ipdatetime"):
            beside.decompose()
        pushes.append((who or None, _said(list(_words(push, address)))))
        push.extract()
    yield BODY, author, list(find_in(_words(content, address)))
    for number, found in enumerate(find_in_pushes(pushes), 1):
        yield f"push {number}", pushes[number - 1][0], found


def _said(words: list[Word]) -> list[Word]:
    """A push's words without the colon before them."""
    if words and not words[0].is_link and words[0].text.startswith(":"):
        first = words[0].text[1:]
        return [Word(first, False), *words[1:]] if first else words[1:]
    return words


def _words(node: Tag, address: str) -> Iterator[Word]:
    """Text and links, in their order. What `img` shows is a signed thumbnail that expires."""
    for item in node.descendants:
        if isinstance(item, Tag):
            if item.name == "a" and item.has_attr("href"):
                try:
                    yield Word(urljoin(address, str(item["href"]).strip()), True)
                except ValueError:  # Not an address at all.
                    continue
        elif type(item) is NavigableString and item.find_parent("a", href=True) is None:
            for word in item.split():
                yield Word(word, False)


def _shared_title(page: BeautifulSoup) -> str | None:
    tag = page.select_one('meta[property="og:title"]')
    return (" ".join(str(tag.get("content") or "").split()) if tag else "") or None
