"""Addresses in what people wrote: glued together, broken in two, or followed by a remark."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from lockstep.sources.ptt.links import Image, Link, classify, has_ending, is_certain, trim

_START = re.compile(r"https?://", re.IGNORECASE)
_NESTED = "/=?&"  # Right behind these, an address is a part of the one before: a proxy's.
_REMARK = re.compile(r"[^!-~]|%[89A-Fa-f][0-9A-Fa-f]")  # no ASCII, escaped or not
_PIECE = re.compile(r"[!-~]+")
_LONGEST = 4096  # characters of an address
_PIECES = 3  # pushes that one address is spread over, at most


class Word(NamedTuple):
    """Text without a space, or where a link leads."""

    text: str
    is_link: bool


class Found(NamedTuple):
    """An address as it was written, and what it leads to."""

    written: str
    links: tuple[Link, ...]


def find(text: str) -> Iterator[Found]:
    """The addresses in a text that lead to images or albums, in order, with repeats.

    Linear in the length of the text, and never an error.
    """
    for word in text.split():
        yield from _in_word(word)


def find_in(words: Iterable[Word]) -> Iterator[Found]:
    """The same of words: a link is an address from its first letter on, or none."""
    for word in words:
        if not word.is_link or _START.match(word.text):
            yield from find(word.text)


def find_in_pushes(pushes: Sequence[tuple[str | None, Sequence[Word]]]) -> Iterator[list[Found]]:
    """The same of each push, given as its author and its words.

    The board has little room in a push, so that an address may go on in its author's next one. It
    is joined where its form says that this is all of it: a known host, a name of the right length,
    and an ending. Where both the beginning alone and all of it could name an image, neither counts.
    """
    following = _next_of_author(pushes)
    for number, (_, words) in enumerate(pushes):
        if not words or not _START.match(words[-1].text) or has_ending(words[-1].text):
            yield list(find_in(words))
            continue
        later: list[Sequence[Word]] = []
        at = following[number]
        while at is not None and len(later) < _PIECES - 1:
            later.append(pushes[at][1])
            at = following[at]
        last = _whole(words[-1].text, later)
        yield [*find_in(words[:-1]), *(find(last) if last else ())]


def _next_of_author(pushes: Sequence[tuple[str | None, object]]) -> list[int | None]:
    """For each push, the number of its author's next one."""
    following: list[int | None] = [None] * len(pushes)
    latest: dict[str, int] = {}
    for number in reversed(range(len(pushes))):
        author = pushes[number][0]
        if author is not None:
            following[number] = latest.get(author)
            latest[author] = number
    return following


def _whole(beginning: str, later: Iterable[Sequence[Word]]) -> str | None:
    """An address with what it goes on with, if anything; None if that is in doubt."""
    if len(beginning) > _LONGEST:
        return beginning
    alone, text = _images(beginning), beginning
    in_doubt = False
    for words in later:
        if not words or words[0].is_link or _START.search(words[0].text):
            break
        piece = _PIECE.match(words[0].text)
        if piece is None:
            break
        text += piece[0]
        if len(text) > _LONGEST:
            break
        if is_certain(text):
            return trim(text)
        in_doubt |= bool(alone) and _images(text) not in ((), alone)
        if len(words) > 1 or piece[0] != words[0].text:
            break
    return None if in_doubt else beginning


def _images(address: str) -> tuple[Link, ...]:
    return tuple(link for link in classify(address) if isinstance(link, Image))


def _in_word(word: str) -> Iterator[Found]:
    starts = [match.start() for match in _START.finditer(word)]
    ends = [*starts, len(word)][1:]
    # Where the address ends if what is nested in it is a part of it.
    outer = ends[:]
    for number in reversed(range(len(starts) - 1)):
        if word[ends[number] - 1] in _NESTED:
            outer[number] = outer[number + 1]
    done = 0
    for start, end, whole in zip(starts, ends, outer, strict=True):
        if start < done:
            continue
        for stop in dict.fromkeys((whole, end)):
            found = _read(word, start, stop)
            if found is not None:
                yield found
                done = stop
                break


def _read(word: str, start: int, stop: int) -> Found | None:
    if stop - start > _LONGEST:
        return None
    written = trim(word[start:stop])
    links = classify(written)
    remark = _REMARK.search(written)
    if not links and remark:
        written = trim(written[: remark.start()])
        links = classify(written)
    return Found(written, links) if links else None
