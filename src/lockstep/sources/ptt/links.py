"""Which addresses lead to images, and to where exactly."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from unicodedata import normalize
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

# The last of each is the replica's. What stands at imgur.io stands at imgur.com.
_IMGUR = {"imgur.com": "imgur.com", "imgur.io": "imgur.com", "imgur.example": "imgur.example"}
_DIRECT = ("i.meee.com.tw", "i.meee.example")
_TWITTER = "pbs.twimg.com"

_IMAGE = re.compile(r"\.(?:jpe?g|png|gif|webp|avif|bmp)$", re.IGNORECASE)
_NAME = r"(?:[A-Za-z0-9]{7}|[A-Za-z0-9]{5})"
# Before the name a title may stand, or the list in which somebody found it; behind it the letter
# of a thumbnail, or `_d` of a preview; behind these an ending, which some have twice. Several
# names in one address are several images.
_IMGUR_IMAGE = re.compile(
    r"^/(?:(?:r|t|topic)/[^/]+/|download/)?(?:[^/,&]*-)?"
    rf"(?P<names>{_NAME}(?:[,&]{_NAME})*)"
    r"(?:(?P<preview>[sbtmlhgr]?_d)|[sbtmlhgr](?=\.))?"
    r"(?P<endings>(?:\.[A-Za-z0-9]{3,4})*)/?$"
)
_IMGUR_ALBUM = re.compile(
    r"^/(?P<kind>a|gallery)/(?P<name>(?:[^\s\x00-\x20/.?#%]*-)?[A-Za-z0-9]+)(?:\.[A-Za-z]{3,4})?(?:/|$)"
)
_IMGUR_ENDINGS = frozenset({"jpg", "jpeg", "png", "gif", "gifv", "webp", "avif", "bmp"})
# Pages of imgur's own with as many letters as an image's name has.
_IMGUR_PAGE = re.compile(
    r"^/(?:about|account|album|archive|careers|contact|cookies|emerald|embed|explore|gallery|image|"
    r"index|legal|login|media|memegen|press|privacy|removal|removed|rules|signout|store|terms|topic|"
    r"users|viral)/?$",
    re.IGNORECASE,
)
_TWITTER_IMAGE = re.compile(r"^/media/([A-Za-z0-9_-]+)(?:\.([a-z]+))?(?::[a-z0-9]+)?$")
_TWITTER_FORMAT = re.compile(r"(?:^|&)format=([a-z]+)(?:&|$)")

_CLOSING = dict(zip(")]}>）］｝＞」』】》〉〕”’", "([{<（［｛＜「『【《〈〔“‘", strict=True))
_PUNCTUATION = ".,;:!?'\"`*|~\\，。、；：！？．～…·"
_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True)
class Image:
    """The address of an image's bytes."""

    address: str


@dataclass(frozen=True)
class Album:
    """The address of a page with several images."""

    address: str


Link = Image | Album


def classify(address: str) -> tuple[Link, ...]:
    """What an address leads to: nothing if to no image, several where it names several.

    An address of imgur in any of its forms gives the image's own, `https://i.imgur.com/NAME.jpg`.
    Hosts that are known to serve the same by https are asked so, and without the query, which
    means nothing to them. Any other address is an image's if it, or its path, ends as images do;
    it stays as it is but for the case of its host and, behind such a path, the fragment. What
    comes out, classified again, gives itself.
    """
    text = trim(address)
    if _CONTROL.search(text):
        return ()
    try:
        parts = urlsplit(text)
        host, port = _host(parts), parts.port
    except ValueError:
        return ()
    if parts.scheme not in ("http", "https") or not host or parts.username is not None:
        return ()
    if port in (None, 80, 443):
        for site, canonical in _IMGUR.items():
            if host in (site, f"www.{site}", f"m.{site}", f"i.{site}"):
                return _imgur(canonical, re.sub("/+", "/", unquote(parts.path)))
        if host == _TWITTER and parts.path.startswith("/media/"):
            return _twitter(parts)
        if host in _DIRECT:
            found = _IMAGE.search(parts.path)
            return (Image(f"https://{host}{parts.path}"),) if found else ()
    return _other(parts._replace(netloc=parts.netloc.lower()))


def is_certain(address: str) -> bool:
    """Whether this is an image of a host whose addresses are known, with its ending or format.

    Its form alone says then that nothing is missing.
    """
    text = trim(address)
    hosts = (*(f"i.{site}" for site in _IMGUR.values()), *_DIRECT, _TWITTER)
    known = any(
        isinstance(found, Image) and urlsplit(found.address).hostname in hosts
        for found in classify(text)
    )
    return known and bool(has_ending(text) or _TWITTER_FORMAT.search(text.partition("?")[2]))


def has_ending(address: str) -> bool:
    """Whether an address, without query and fragment or with them, ends as images' do."""
    return any(_IMAGE.search(text) for text in (address, re.split("[?#]", address, maxsplit=1)[0]))


def trim(address: str) -> str:
    """An address without what people type right behind it: punctuation, brackets never opened.

    Some programs escape these as a part of the address: `%29`.
    """
    text = address.strip()
    shown = unquote(text)
    count = Counter(shown)
    while text:
        last = shown[-1]
        unopened = last in _CLOSING and count[last] > count[_CLOSING[last]]
        if not unopened and last not in _PUNCTUATION:
            break
        count[last] -= 1
        cut = text[: -3 * len(last.encode()) if _ESCAPE.fullmatch(text[-3:]) else -1]
        text = cut.rstrip()
        shown = shown[: -1 - (len(cut) - len(text))]  # the spaces before it, too
    return text


def _host(parts: SplitResult) -> str:
    """The host in small letters; full-width letters and dots are what browsers take them for."""
    return normalize("NFKC", parts.hostname or "").replace("。", ".").rstrip(".")


def _imgur(site: str, path: str) -> tuple[Link, ...]:
    album = _IMGUR_ALBUM.match(path)
    if album:
        return (Album(f"https://{site}/{album['kind']}/{album['name']}"),)
    found = _IMGUR_IMAGE.match(path)
    if found is None:
        return ()
    if not found["endings"] and _IMGUR_PAGE.match(path):
        return ()
    ending = (found["endings"] or ".jpg").lower().split(".")[1]
    if ending not in _IMGUR_ENDINGS:
        return ()
    if ending == "gifv":
        ending = "gif"
    elif found["preview"] and ending == "webp":  # as previews are, whatever the image is
        ending = "jpg"
    names = dict.fromkeys(re.split("[,&]", found["names"]))
    return tuple(Image(f"https://i.{site}/{name}.{ending}") for name in names)


def _twitter(parts: SplitResult) -> tuple[Link, ...]:
    found = _TWITTER_IMAGE.match(parts.path)
    in_query = _TWITTER_FORMAT.search(parts.query)
    ending = (found and found[2]) or (in_query and in_query[1])
    if found is None or not ending or not _IMAGE.search(f".{ending}"):
        return ()
    return (Image(f"https://{_TWITTER}/media/{found[1]}?format={ending}&name=large"),)


def _other(parts: SplitResult) -> tuple[Link, ...]:
    if not re.search("[.:]", parts.hostname or ""):  # No host of the internet's has such a name.
        return ()
    whole = urlunsplit(parts)
    if _IMAGE.search(parts.path):
        return (Image(trim(urlunsplit(parts._replace(fragment="")))),)
    return (Image(whole),) if _IMAGE.search(whole) else ()
