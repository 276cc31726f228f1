"""A page of the board's index."""

from __future__ import annotations

import re
from dataclasses import dataclass

from bs4 import Tag

from lockstep.core.errors import LockstepError
from lockstep.sources.ptt.names import article_id
from lockstep.sources.ptt.page import read_page

_MOST = 100  # What 爆 stands for: that many pushes or more. XX is as many the other way.
_PAGE = re.compile(r"/index(\d{1,9})\.html$")


@dataclass(frozen=True)
class Row:
    """One article in the index."""

    id: str
    title: str
    author: str
    pushes: int


@dataclass(frozen=True)
class Index:
    """A page of the index: its own rows, top to bottom (oldest first), and the older page.

    `previous` is that page's number, None on the oldest. Deleted articles and pinned ones
    (which stand on the newest page, whatever their age) are left out. `unread` has the links of
    rows that lead to no article.
    """

    rows: tuple[Row, ...]
    previous: int | None
    unread: tuple[str, ...] = ()


def parse_index(html: str, address: str) -> Index:
    """Read an index page. `address` names it in errors.

    Raises `LockstepError` if it is no index, or does not say what the older page is.
    """
    page = read_page(html, address)
    container = page.select_one(".r-list-container")
    if container is None:
        raise _changed(address, "not a page of the index")
    rows: list[Row] = []
    unread: list[str] = []
    for node in container.find_all("div", recursive=False):
        classes = node.get_attribute_list("class")
        if "r-list-sep" in classes:
            break
        # The menu beside the title has links too; a deleted article has none.
        link = node.select_one(".title a[href]") if "r-ent" in classes else None
        if link is not None:
            name = article_id(str(link["href"]))
            if name is None:
                unread.append(str(link["href"]))
            else:
                rows.append(_row(node, name, " ".join(link.get_text().split())))
    return Index(tuple(rows), _older(page, address), tuple(unread))


def _older(page: Tag, address: str) -> int | None:
    for button in page.select(".btn-group-paging a"):
        if "上頁" in button.get_text():
            if not button.has_attr("href"):  # Greyed out.
                return None
            found = _PAGE.search(str(button["href"]))
            if found:
                return int(found[1])
    # To take it for the oldest one would end the crawl too early, and in silence.
    raise _changed(address, "no button 上頁 that leads to a page of the index")


def _changed(address: str, what: str) -> LockstepError:
    return LockstepError(
        f"{address}: {what}; run again, and if it stays, look at it in a browser: the board's "
        "markup may have changed"
    )


def _row(node: Tag, name: str, title: str) -> Row:
    return Row(name, title, _text(node, ".author"), parse_pushes(_text(node, ".nrec")))


def parse_pushes(text: str) -> int:
    """The number that `.nrec` shows: 爆 is 100 (or more), nothing is 0 (to -9), X3 is -30."""
    text = text.strip()
    if text == "爆":
        return _MOST
    if text.upper() == "XX":
        return -_MOST
    if re.fullmatch(r"[Xx]\d", text):
        return -10 * int(text[1])
    return int(text) if re.fullmatch(r"\d{1,3}", text) else 0


def _text(node: Tag, selector: str) -> str:
    found = node.select_one(selector)
    return found.get_text().strip() if found else ""
