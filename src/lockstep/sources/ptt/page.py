"""What every page of the board may turn out to be."""

from __future__ import annotations

from bs4 import BeautifulSoup
from bs4.exceptions import ParserRejectedMarkup

from lockstep.core.errors import LockstepError
from lockstep.sources.ptt.emails import reveal_all


def read_page(html: str, address: str) -> BeautifulSoup:
    """The page with hidden e-mail addresses put back.

    Raises
    ------
    LockstepError
        If it is the question whether one is of age, which must not pass for an empty page; or
        nothing that can be read as HTML.
    """
    try:
        page = BeautifulSoup(html, "html.parser")
    except ParserRejectedMarkup:
        raise LockstepError(f"{address}: not HTML; look at it in a browser") from None
    if page.select_one(".over18-notice"):
        raise age_gate(address)
    reveal_all(page)
    return page


def age_gate(address: str) -> LockstepError:
    """The error for being asked one's age in spite of the cookie."""
    return LockstepError(
        f"{address}: the board asks for one's age and took no notice of the cookie over18=1; "
        "see in a browser whether crawl.source still uses that cookie"
    )
