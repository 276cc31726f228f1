"""What every page of the board may turn out to be, and hide."""

from __future__ import annotations

from contextlib import suppress

from bs4 import BeautifulSoup
from bs4.exceptions import ParserRejectedMarkup

from lockstep.core.errors import LockstepError


class PageFailed(LockstepError):
    """A page that could not be had; `reason` is why, in a few words, the same every time."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


def read_page(html: str, address: str) -> BeautifulSoup:
    """The page with hidden e-mail addresses put back.

    Raises `LockstepError` if it is not HTML, or the age gate, which must not pass for an empty
    page.
    """
    try:
        page = BeautifulSoup(html, "html.parser")
    except (ParserRejectedMarkup, ValueError):  # a character's number of 5000 digits
        raise LockstepError(f"{address}: not HTML; look at it in a browser") from None
    if page.select_one(".over18-notice"):
        raise age_gate(address)
    for node in page.select(".__cf_email__[data-cfemail]"):
        with suppress(ValueError):  # Damaged ones stay as they are.
            node.replace_with(reveal(str(node["data-cfemail"])))
    return page


def reveal(code: str) -> str:
    """The text of a `data-cfemail` attribute. Raises `ValueError` if it is none.

    The board's front hides from collectors of e-mail addresses whatever has an @ in it, titles
    and names too. The first byte is the key that the others are XORed with.
    """
    key, *hidden = bytes.fromhex(code)
    return bytes(byte ^ key for byte in hidden).decode("utf-8", "replace")


def age_gate(address: str) -> LockstepError:
    """The error for being asked one's age in spite of the cookie."""
    return LockstepError(
        f"{address}: the board asks for one's age and took no notice of the cookie over18=1; "
        "see in a browser whether crawl.source still uses that cookie"
    )
