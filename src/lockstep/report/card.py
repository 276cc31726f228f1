"""The data card as a part of the page."""

from __future__ import annotations

import re

from markdown_it import MarkdownIt
from markupsafe import Markup

from lockstep.core import paths
from lockstep.core.files import damage_named

_FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)
_BELOW = 2
"""The page has two levels of headings above the card's first."""


def card(workload: str) -> Markup | None:
    """The card as HTML without its front matter; HTML and images in it stay text.

    Raises `LockstepError` if it is no text.
    """
    path = paths.card(workload)
    if not path.exists():
        return None
    with damage_named(path):
        text = path.read_text("utf-8")
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
    tokens = markdown.parse(_FRONT_MATTER.sub("", text))
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(int(token.tag[1:]) + _BELOW, 6)}"
    return Markup(markdown.renderer.render(tokens, markdown.options, {}))
