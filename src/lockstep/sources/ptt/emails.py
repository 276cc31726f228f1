"""E-mail addresses that the board's front hides from collectors of them.

It takes whatever has an @ in it for one, in titles and names too. The first byte is the key that
the others are XORed with.
"""

from __future__ import annotations

from bs4 import BeautifulSoup


def reveal(code: str) -> str:
    """The text of a `data-cfemail` attribute. Raises `ValueError` if it is none."""
    key, *hidden = bytes.fromhex(code)
    return bytes(byte ^ key for byte in hidden).decode("utf-8", "replace")


def reveal_all(page: BeautifulSoup) -> None:
    """Put the text back in place of each hidden address; damaged ones stay as they are."""
    for node in page.select(".__cf_email__[data-cfemail]"):
        try:
            node.replace_with(reveal(str(node["data-cfemail"])))
        except ValueError:
            continue
