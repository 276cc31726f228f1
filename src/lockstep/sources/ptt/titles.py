"""What a title says an article is, however often it was answered and passed on."""

from __future__ import annotations

import re

_REPLY = re.compile(r"(?:re|r|回覆)\s*[:：]\s*", re.IGNORECASE)
_FORWARDED = re.compile(
    r"(?:fwd?|轉錄)\s*[:：]\s*|[\[［【]\s*(?:轉錄|轉)\s*[\]］】]\s*", re.IGNORECASE
)
_ANNOUNCEMENT = re.compile(r"[\[［【]\s*公告\s*[\]］】]")


def is_announcement(title: str) -> bool:
    """Whether it is one of the board's rules and notices, `[公告]`, or about one."""
    text, at = title.strip(), 0
    while wrapper := _REPLY.match(text, at) or _FORWARDED.match(text, at):
        at = wrapper.end()
    return _ANNOUNCEMENT.match(text, at) is not None


def is_reply(title: str) -> bool:
    """Whether it answers an article; not one that only passes an answer on."""
    return _REPLY.match(title.strip()) is not None
