"""`exclude.txt`: what people asked to be taken out.

One entry a line: the address of an image, the id of an article (`M.1700000000.A.1B2`), the
SHA-256 of an image's file, the name of an author, or `source:path` of an image that a merge
found (the two as its `decisions.csv` has them). What follows a `#` at the start of a line or after
a space is a remark.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lockstep.core.errors import LockstepError
from lockstep.sources.ptt.links import Image, classify
from lockstep.sources.ptt.names import ARTICLE

_REMARK = re.compile(r"(?:^|\s)#.*")
_SHA256 = re.compile(r"^[0-9a-fA-F]{64}$")
_AUTHOR = re.compile(r"^[A-Za-z][A-Za-z0-9]{1,11}$")
_ADDRESS = re.compile(r"^https?(?=://)", re.IGNORECASE)
_MERGED = re.compile(r"^[^:]+:.*[^:\s]$")
_ARTICLE = re.compile(rf"^{ARTICLE}$")
_ARTICLE_PAGE = re.compile(rf"/({ARTICLE})\.html$")


@dataclass(frozen=True)
class Exclusions:
    """The entries of an `exclude.txt`, without remarks.

    Addresses are as a crawl writes them, authors in small letters: the board takes both for one.
    """

    entries: frozenset[str]

    def of_downloads(self) -> Exclusions:
        """Those that can name a downloaded image: all but `source:path`."""
        return Exclusions(frozenset(entry for entry in self.entries if not _is_merged(entry)))

    def of_merges(self) -> Exclusions:
        """Those that can name a file of a merge: `source:path` and SHA-256."""
        return Exclusions(
            frozenset(entry for entry in self.entries if _is_merged(entry) or _SHA256.match(entry))
        )

    def of_merges_alone(self) -> Exclusions:
        """Those that can name nothing but a file of a merge: `source:path`."""
        return Exclusions(frozenset(entry for entry in self.entries if _is_merged(entry)))

    def tell_unused(self, used: Set[str], where: str) -> None:
        """Say on stderr which are not in `used`; `where` says among what they were looked for."""
        for entry in sorted(self.entries - used):
            print(f"exclude.txt: {entry!r} matches nothing {where}", file=sys.stderr)

    def naming(self, row: Mapping[str, Any]) -> frozenset[str]:
        """Those that name a row of the manifest: itself, an article that shows it, its author."""
        names = {row["sha256"], row["address"], *_images_at(row["address"])}
        for link in row["named_by"]:
            names |= {link["article"], (link["author"] or "").lower()}
        return self.entries & names


def read(path: Path) -> Exclusions:
    """Read an `exclude.txt`; the file may be empty.

    Raises `LockstepError` if it is missing or no text, or a line is none of the five.
    """
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        raise LockstepError(f"{path}: missing; make an empty one if nothing is excluded") from None
    except UnicodeDecodeError:
        raise LockstepError(f"{path}: not in UTF-8; save it as that") from None
    entries: set[str] = set()
    for number, line in enumerate(text.splitlines(), 1):
        entry = _REMARK.sub("", line).strip()
        if entry:
            entries |= _normal(entry, f"{path}:{number}")
    return Exclusions(frozenset(entries))


def _is_merged(entry: str) -> bool:
    return _MERGED.match(entry) is not None and not _ADDRESS.match(entry)


def _images_at(address: str) -> set[str]:
    """The addresses of images that an address stands for, as a crawl writes them."""
    return {link.address for link in classify(address) if isinstance(link, Image)}


def _normal(entry: str, where: str) -> set[str]:
    """As the manifest writes it; an address of several images stands for each of them."""
    if _SHA256.match(entry) or _AUTHOR.match(entry):
        return {entry.lower()}
    if _ARTICLE.match(entry) or _is_merged(entry):
        return {entry}
    if scheme := _ADDRESS.match(entry):
        entry = scheme[0].lower() + entry[scheme.end() :]
        images = _images_at(entry)
        # An article's address stands for the article.
        article = _ARTICLE_PAGE.search(entry)
        return images or {article.group(1) if article else entry}
    raise LockstepError(
        f"{where}: {entry!r} is no address, article, SHA-256, author or source:path; mend or "
        "remove the line"
    )
