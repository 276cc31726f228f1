"""The board's pages: their structure is the real board's, the rest is written anew."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from html import escape
from random import Random

from lockstep.synthetic.board.hosting import PAGES
from lockstep.synthetic.board.posts import Post, Push

_TAIPEI = timezone(timedelta(hours=8))


def index_page(
    board: str, rows: Sequence[Post], pinned: Sequence[Post], number: int, last: int
) -> str:
    """Page `number` of the index, of `last`; the pinned posts stand under a line."""
    listed = "".join(_row(board, post) for post in rows)
    if pinned:
        below = "".join(_row(board, post) for post in pinned)
        listed += f'<div class="r-list-sep"></div>{below}'
    targets = {"最舊": 1, "‹ 上頁": number - 1, "下頁 ›": number + 1, "最新": last}
    paging = "".join(_button(board, text, target, last) for text, target in targets.items())
    return _document(
        f"看板 {board} 文章列表",
        f'<div class="btn-group btn-group-paging">{paging}</div>'
        f'<div class="r-list-container bbs-screen">'
        f'<div class="search-bar"><form><input name="q"></form></div>{listed}</div>',
    )


def article_page(board: str, post: Post) -> str:
    """An article with its pushes."""
    at = datetime.fromtimestamp(post.time, _TAIPEI)
    said = {
        "作者": f"{post.user} ({post.nickname})",
        "看板": board,
        "標題": post.title,
        "時間": f"{at:%a %b} {at.day:2} {at:%H:%M:%S %Y}",
    }
    meta = "".join(
        f'<div class="article-metaline{"-right" if tag == "看板" else ""}">'
        f'<span class="article-meta-tag">{tag}</span>'
        f'<span class="article-meta-value">{escape(value)}</span></div>'
        for tag, value in said.items()
        if tag not in post.unsaid
    )
    address = f"https://{PAGES}/bbs/{board}/{post.id}.html"
    body = "\n".join(
        [
            *map(escape, post.lines),
            *([f"信箱：{_hidden(post.email)}"] if post.email else []),
            *(f"{_link(link)}\n{_preview(link)}" for link in post.links),
            f'--\n<span class="f2">※ 文章網址: {_link(address)}</span>',
        ]
    )
    pushes = [_push(push) for push in post.pushes]
    if post.is_long:
        cut = '<div class="push center warning-box">檔案過大！部分文章無法顯示</div>'
        pushes.insert(len(pushes) // 2, cut)
    return _document(
        post.title,
        '<div id="main-content" class="bbs-screen bbs-content">'
        f"{meta}\n{body}\n{''.join(pushes)}</div>",
        f'<meta property="og:title" content="{escape(post.title)}">',
    )


def age_question(target: str) -> str:
    """The page that asks whether one is of age."""
    return _document(
        "年齡確認",
        '<div class="over18-notice"><p>本看板限成年人進入，請問您滿十八歲了嗎？</p>'
        f'<form method="post"><input type="hidden" name="from" value="{escape(target)}">'
        '<button name="yes">是</button><button name="no">否</button></form></div>',
    )


def notice(text: str) -> str:
    """A page with one sentence."""
    return _document(text, f"<p>{escape(text)}</p>")


def shown(score: int) -> str:
    """How the index shows pushes less boos."""
    if score >= 100:
        return "爆"
    if score > 0:
        return str(score)
    if score <= -100:
        return "XX"
    return "" if score > -10 else f"X{-score // 10}"


def hide(text: str, key: int) -> str:
    """The code that the board's front puts in place of an e-mail address."""
    return bytes([key, *(byte ^ key for byte in text.encode())]).hex()


def _document(title: str, content: str, head: str = "") -> str:
    return (
        '<!DOCTYPE html>\n<html lang="zh-Hant"><head><meta charset="utf-8">'
        f"<title>{escape(title)}</title>{head}</head>\n"
        f'<body><div id="topbar"><a href="/bbs/">看板列表</a></div>\n{content}\n</body></html>\n'
    )


def _row(board: str, post: Post) -> str:
    at = datetime.fromtimestamp(post.time, _TAIPEI)
    day = f"{at.month:2}/{at.day:02}"
    if post.kind == "deleted":
        title, author, menu = f"(本文已被刪除) [{escape(post.user)}]", "-", ""
    else:
        title = f'<a href="/bbs/{board}/{post.id}.html">{escape(post.title)}</a>'
        author = escape(post.user)
        menu = (
            '<div class="article-menu"><div class="trigger">⋯</div><div class="dropdown">'
            f'<div class="item"><a href="/bbs/{board}/search?q={post.id}">同標題</a></div>'
            f'<div class="item"><a href="/bbs/{board}/search?q=author">同作者</a></div></div></div>'
        )
    return (
        f'<div class="r-ent"><div class="nrec"><span class="hl">{shown(post.score)}</span></div>'
        f'<div class="title">{title}</div><div class="meta"><div class="author">{author}</div>'
        f'{menu}<div class="date">{day}</div><div class="mark"></div></div></div>'
    )


def _button(board: str, text: str, target: int, last: int) -> str:
    if not 1 <= target <= last:
        return f'<a class="btn wide disabled">{text}</a>'
    page = "index" if text == "最新" else f"index{target}"
    return f'<a class="btn wide" href="/bbs/{board}/{page}.html">{text}</a>'


def _push(push: Push) -> str:
    at = datetime.fromtimestamp(push.time, _TAIPEI)
    link = f" {_link(push.link)}" if push.link else ""
    return (
        f'<div class="push"><span class="hl push-tag">{push.tag} </span>'
        f'<span class="f3 hl push-userid">{push.user}</span>'
        f'<span class="f3 push-content">: {escape(push.text)}{link}</span>'
        f'<span class="push-ipdatetime"> {at:%m/%d %H:%M}\n</span></div>'
        f"{_preview(push.link) if push.link else ''}"
    )


def _preview(link: str) -> str:
    """What the board shows of an image: not the address, but a thumbnail for a while."""
    if "videos." in link:
        return ""
    return (
        f'<div class="richcontent"><a href="{escape(link)}">'
        f'<img src="https://cache.ptt.example/c/{len(link)}?e=1704067200&amp;s=signed"></a></div>'
    )


def _link(address: str) -> str:
    text = escape(address)
    return f'<a href="{text}" target="_blank" rel="noreferrer noopener nofollow">{text}</a>'


def _hidden(email: str) -> str:
    code = hide(email, Random(email).randrange(1, 256))
    return (
        '<a href="/cdn-cgi/l/email-protection" class="__cf_email__" '
        f'data-cfemail="{code}">[email&#160;protected]</a>'
    )
