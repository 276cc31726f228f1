"""What titles say: announcements, replies, and how often they were passed on."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep.sources.ptt.crawl import Criteria
from lockstep.sources.ptt.index import Row
from lockstep.sources.ptt.titles import is_announcement, is_reply

ALL = Criteria(date(2024, 1, 1), date(2024, 12, 31))
WITH_REPLIES = Criteria(ALL.start, ALL.end, replies=True)
WRAPPERS = st.lists(
    st.sampled_from(
        ["Re: ", "RE:", "R: ", "Re：", "Fw: ", "FW:", "Fwd: ", "[轉錄]", "[轉錄] ", "［轉］"]
    )
)


def accepted(title: str) -> tuple[bool, bool]:
    """(without replies, with them)"""
    row = Row("M.1704067200.A.5F3", title, "me", 0)
    return ALL.accept(row), WITH_REPLIES.accept(row)


@pytest.mark.parametrize(
    "title",
    [
        "[公告] x",
        "Re: [公告] x",
        "[轉錄][公告] x",
        "R: [公告] x",
        "Fw: Fw: [公告] x",
        "Fw:[公告]x",
        "Re: Fw: [轉錄] ［公告］ x",
        "【公告】x",
        "fw： [ 公告 ] x",
    ],
)
def test_announcements_are_never_wanted(title: str) -> None:
    assert accepted(title) == (False, False)


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("Re: [正妹] x", (False, True)),
        ("re:[正妹] x", (False, True)),
        ("R: [正妹] x", (False, True)),
        ("[正妹] x", (True, True)),
        ("Fw: [正妹] x", (True, True)),
        ("[轉錄] [正妹] x", (True, True)),
        ("[正妹] 看了[公告]之後", (True, True)),
        ("[正妹] Re: x", (True, True)),
        ("Rebecca", (True, True)),
        ("", (True, True)),
    ],
)
def test_the_others_are_as_replies_say(title: str, expected: tuple[bool, bool]) -> None:
    assert accepted(title) == expected


@given(WRAPPERS, st.text(max_size=20))
def test_however_often_it_is_wrapped(wrappers: list[str], rest: str) -> None:
    assert is_announcement("".join(wrappers) + "[公告] " + rest)
    assert is_announcement("".join(wrappers) + rest) == is_announcement(rest)
    is_reply(rest)
