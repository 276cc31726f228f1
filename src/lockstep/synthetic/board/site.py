"""What each of the replica's addresses gives: a function of the seed, without a network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from urllib.parse import quote, urlsplit

from lockstep.synthetic.board import hosting, markup
from lockstep.synthetic.board.hosting import Hosted
from lockstep.synthetic.board.posts import IMAGES_AN_ARTICLE, Post, posts
from lockstep.synthetic.painting import ImageFile

BOARD = "Beauty"
SOURCE = f"https://{hosting.PAGES}"

_ROWS = 20
_STEP = 19  # Neighbouring pages share a row, as they do where posts arrive in between.
_PINNED = 3


@dataclass(frozen=True)
class Answer:
    """Status, headers and body of an HTTP answer."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Site:
    """The board and the hosts of its images."""

    articles: int  # rows of the index, deleted ones too; there are 2.5 times as many images
    seed: int  # of everything but the images themselves
    image: Callable[[int], ImageFile]  # draws the image of a number, 0 and up

    @cached_property
    def images(self) -> list[Hosted]:
        """The addresses with an image, or with something in place of one."""
        return hosting.hosted(round(self.articles * IMAGES_AN_ARTICLE), self.seed)

    @cached_property
    def posts(self) -> list[Post]:
        """Oldest first."""
        return posts(self.articles, self.seed, self.images)

    @property
    def index_pages(self) -> int:
        """How many pages the index has."""
        return max(1, -(-(self.articles - 1) // _STEP))

    def hosted(self, address: str) -> Hosted | None:
        """What stands at an image's address; None if nothing does."""
        return self._files.get(_plain(address))

    def answer(self, host: str, target: str, cookies: Mapping[str, str]) -> Answer:
        """What a GET gives. `target` is the path with the query."""
        path = urlsplit(target).path
        if host == hosting.PAGES:
            return self._page(path, cookies)
        if host in (hosting.IMGUR, f"m.{hosting.IMGUR}"):
            return _html(markup.notice("一張圖片的頁面"))
        return self._file(f"{'http' if host == hosting.OTHER else 'https'}://{host}{path}")

    def _page(self, path: str, cookies: Mapping[str, str]) -> Answer:
        if path == "/robots.txt":
            robots = b"User-agent: *\nDisallow: /cdn-cgi/\n"
            return Answer(200, robots, {"Content-Type": "text/plain"})
        if path == "/ask/over18":
            return _html(markup.age_question(path))
        if cookies.get("over18") != "1":
            return Answer(302, headers={"Location": f"/ask/over18?from={quote(path, safe='')}"})
        if path not in self._pages:
            return _html(markup.notice("404 - Not Found."), 404)
        return _html(self._pages[path]())

    @cached_property
    def _pages(self) -> dict[str, Callable[[], str]]:
        folder = f"/bbs/{BOARD}"
        pages: dict[str, Callable[[], str]] = {
            f"{folder}/{post.id}.html": partial(markup.article_page, BOARD, post)
            for post in [*self.posts, *self._pinned]
            if post.kind != "deleted"
        }
        for number in range(1, self.index_pages + 1):
            pages[f"{folder}/index{number}.html"] = partial(self._index, number)
        pages[f"{folder}/index.html"] = partial(self._index, self.index_pages)
        return pages

    def _index(self, number: int) -> str:
        start = _STEP * (number - 1)
        rows = self.posts[start : start + _ROWS]
        pinned = self._pinned if number == self.index_pages else []
        return markup.index_page(BOARD, rows, pinned, number, self.index_pages)

    @cached_property
    def _pinned(self) -> list[Post]:
        """Announcements older than the board's first page, and one article from the middle."""
        rules: list[Post] = []
        for i, post in enumerate(self.posts[:_PINNED]):
            id = f"M.{post.time - 10**8}.A.FF{i}"
            rules.append(replace(post, id=id, kind="announcement", title="[公告] 板規"))
        articles = [post for post in self.posts if post.kind == "article"]
        return [*rules, articles[len(articles) // 2]]

    @cached_property
    def _files(self) -> dict[str, Hosted]:
        return {_plain(image.address): image for image in self.images}

    def _file(self, address: str) -> Answer:
        found = self.hosted(address)
        if address == f"https://i.{hosting.IMGUR}/removed.png":
            return Answer(200, hosting.bomb(1), {"Content-Type": "image/png"})
        if found is None or found.fault == "missing":
            return _html(markup.notice("找不到圖片"), 404)
        if found.fault == "removed":
            return Answer(302, headers={"Location": f"https://i.{hosting.IMGUR}/removed.png"})
        if found.fault == "loop":
            return Answer(302, headers={"Location": found.address})
        if found.fault == "page":
            return _html(markup.notice("這張圖片需要登入"))
        broken = {"empty": b"", "noise": bytes(range(256)) * 8, "bomb": hosting.bomb()}
        if found.fault in broken:
            return Answer(200, broken[found.fault], {"Content-Type": "image/jpeg"})
        file = self.image(found.shows)
        body, kind = file.data, file.content_type
        if found.form is not None:
            body, kind = hosting.recoded(body, found.form)
        if found.fault == "cut":
            body = body[: len(body) // 2]
        return Answer(200, body, {"Content-Type": kind})


def _plain(address: str) -> str:
    """Addresses that give the same: endings do not matter here."""
    return address.rsplit(".", 1)[0]


def _html(text: str, status: int = 200) -> Answer:
    return Answer(status, text.encode(), {"Content-Type": "text/html; charset=utf-8"})
