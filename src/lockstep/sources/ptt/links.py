"""Which links lead to images, and to where exactly."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

# The second of each is the replica's.
_IMGUR = ("imgur.com", "imgur.example")
_DIRECT = ("i.meee.com.tw", "i.meee.example")

_IMAGE = re.compile(r"\.(?:jpe?g|png|gif|webp|avif|bmp)$", re.IGNORECASE)
# A title may stand before the id, and before an ending the letter of a thumbnail behind it.
_IMGUR_IMAGE = re.compile(
    r"^/(?:[^/]*-)?([A-Za-z0-9]{7}|[A-Za-z0-9]{5})(?:[sbtmlhg]?\.([A-Za-z]{3,4}))?/?$"
)
_IMGUR_ALBUM = re.compile(r"^/(?:a|gallery)/[^/]+/?$")
_TWITTER = "pbs.twimg.com"
_TWITTER_IMAGE = re.compile(r"^/media/([A-Za-z0-9_-]+)(?:\.([a-z]+))?(?::[a-z0-9]+)?$")
_TWITTER_FORMAT = re.compile(r"(?:^|&)format=([a-z]+)(?:&|$)")
_NO_IMAGE = frozenset({"mp4", "webm"})
_CLOSING = {")": "(", "]": "[", "}": "{", ">": "<", "）": "（", "」": "「", "】": "【"}
_PUNCTUATION = ".,;:!?'\"，。、；：！？"
_ESCAPED_END = re.compile(r"(?:%[0-9A-Fa-f]{2})+$")


@dataclass(frozen=True)
class Image:
    """The address of an image's bytes."""

    address: str


@dataclass(frozen=True)
class Album:
    """The address of a page with several images."""

    address: str


def links(hrefs: Iterable[str]) -> list[Image | Album]:
    """What of some links leads to images, each once, in their order."""
    return list(dict.fromkeys(found for found in map(classify, hrefs) if found is not None))


def classify(href: str) -> Image | Album | None:
    """What a link leads to; None if to no image.

    Hosts that are known to serve the same by https are asked so, and without the query, which
    means nothing to them.
    """
    try:
        parts = urlsplit(trim(href))
        host, port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not host or parts.username is not None:
        return None
    if port is None:
        for site in _IMGUR:
            if host in (site, f"www.{site}", f"m.{site}", f"i.{site}"):
                return _imgur(site, parts.path)
        if host == _TWITTER and parts.path.startswith("/media/"):
            return _twitter(parts)
        if host in _DIRECT:
            return Image(f"https://{host}{parts.path}") if _IMAGE.search(parts.path) else None
    if not _IMAGE.search(parts.path):
        return None
    return Image(urlunsplit(parts._replace(netloc=parts.netloc.lower(), fragment="")))


def trim(href: str) -> str:
    """A link without what people type right behind it: punctuation, and brackets never opened.

    Some programs escape these as a part of the address: `%29`.
    """
    text = href.strip()
    while text:
        escaped, shown = _ESCAPED_END.search(text), unquote(text)
        last = shown[-1]
        unopened = last in _CLOSING and shown.count(last) > shown.count(_CLOSING[last])
        if not unopened and last not in _PUNCTUATION:
            break
        text = text[: -3 * len(last.encode()) if escaped else -1].rstrip()
    return text


def _imgur(site: str, path: str) -> Image | Album | None:
    if _IMGUR_ALBUM.match(path):
        return Album(f"https://{site}{path.rstrip('/')}")
    found = _IMGUR_IMAGE.match(path)
    if found is None:
        return None
    name, ending = found[1], (found[2] or "jpg").lower()
    if ending in _NO_IMAGE:
        return None
    return Image(f"https://i.{site}/{name}.{'gif' if ending == 'gifv' else ending}")


def _twitter(parts: SplitResult) -> Image | None:
    found = _TWITTER_IMAGE.match(parts.path)
    in_query = _TWITTER_FORMAT.search(parts.query)
    ending = (found and found[2]) or (in_query and in_query[1])
    if found is None or not ending or not _IMAGE.search(f".{ending}"):
        return None
    return Image(f"https://{_TWITTER}/media/{found[1]}?format={ending}&name=large")
