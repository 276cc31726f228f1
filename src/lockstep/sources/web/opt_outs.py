"""Whether a file's server asks, in X-Robots-Tag headers, not to put it into collections."""

from __future__ import annotations

import re
from collections.abc import Iterable

OPT_OUTS = frozenset({"noai", "noimageai", "noml", "noindex", "noimageindex", "none"})
"""What keeps an image out of a data set: the words that say so of learning, and those that say so
of any collection of images. `none` is short for noindex and nofollow.
"""

# Directives with a value behind a colon, where others have the name of the one meant.
_WITH_VALUE = {"unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"}
_NAME = re.compile(r"\s*([^\s:,]+)\s*:(.*)", re.DOTALL)


def opt_out(headers: Iterable[str], product: str) -> str | None:
    """The first of `OPT_OUTS` in X-Robots-Tag headers that is meant for all or for `product`.

    A header is a list with commas, in upper or lower case. `otherbot: noindex, noai` says both to
    that one alone: a name holds to the end of its header, or to the next name.
    """
    for header in headers:
        meant = True
        for part in header.lower().split(","):
            named = _NAME.fullmatch(part)
            if named is not None and named[1] not in _WITH_VALUE:
                meant = named[1] in ("*", product.lower())
                part = named[2]
            if meant and part.strip() in OPT_OUTS:
                return part.strip()
    return None
