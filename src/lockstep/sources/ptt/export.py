"""A crawl's links as lists, of some of its days: in the form of earlier crawlers, or as a table."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterable, Iterator
from datetime import date
from pathlib import Path
from typing import Any, TextIO

from lockstep.core.errors import LockstepError
from lockstep.core.files import damage_named
from lockstep.core.provenance import read_provenance
from lockstep.sources.listing import read_lines
from lockstep.sources.ptt.names import in_taipei, written_at
from lockstep.sources.ptt.output import LINKS

_COLUMNS = ("time", "article", "place", "author", "written", "addresses")


def read_links(crawled: Path, start: str | None, end: str | None) -> Iterator[dict[str, Any]]:
    """The lines of `links.jsonl` in the folder `crawled`, with the article's `time`.

    `start` and `end` are the first and the last day, in Taipei: `2024-01-31`, `20240131`, or
    `0131` for that day of every year in the crawl. None: as far as the crawl goes.

    Raises `LockstepError` if they are no days, nothing is linked on them, or there is no crawl.
    """
    is_wanted = _days(start, end)
    found = False
    for line in read_lines(crawled / LINKS):
        with damage_named(crawled / LINKS):
            time = in_taipei(written_at(line["article"]))
            row = {"time": time, **{column: line[column] for column in _COLUMNS[1:]}}
            texts = [line["place"], line["author"] or "", line["written"], *line["addresses"]]
            if not all(isinstance(text, str) for text in texts):
                raise TypeError(f"{line['article']}: not all is text")
        if is_wanted(time[:10].replace("-", "")):
            found = True
            yield row
    if not found:
        params = read_provenance(crawled).params
        raise LockstepError(
            f"{crawled / LINKS}: no link to an image on these days; the crawl has "
            f"{params['crawl.start']} to {params['crawl.end']}"
        )


def write_flat(links: Iterable[dict[str, Any]], file: TextIO) -> None:
    """`{"image_urls": [...]}`: each address as it was written, in order, with repeats."""
    file.write('{"image_urls": [')
    for number, link in enumerate(links):
        file.write(f"{',' if number else ''}\n{json.dumps(link['written'], ensure_ascii=False)}")
    file.write("\n]}\n")


def write_table(links: Iterable[dict[str, Any]], file: TextIO) -> None:
    """CSV with a header; several addresses of images that one link names have spaces between."""
    table = csv.writer(file, lineterminator="\n")
    table.writerow(_COLUMNS)
    for link in links:
        row = {**link, "addresses": " ".join(link["addresses"])}
        table.writerow([row[column] for column in _COLUMNS])


FORMATS: dict[str, Callable[[Iterable[dict[str, Any]], TextIO], None]] = {
    "flat": write_flat,
    "csv": write_table,
}
"""How a list may be written."""


def _days(start: str | None, end: str | None) -> Callable[[str], bool]:
    """Whether a day, as `20240131`, lies between two."""
    first = None if start is None else _day("start", start)
    last = None if end is None else _day("end", end)
    if first is not None and last is not None:
        if len(first) != len(last):
            raise LockstepError("--start, --end: give both with a year, or both without")
        if first > last:
            raise LockstepError(
                f"--end: {end} is before {start}; a list does not go round the year"
            )

    def is_wanted(day: str) -> bool:
        return (first is None or day[-len(first) :] >= first) and (
            last is None or day[-len(last) :] <= last
        )

    return is_wanted


def _day(option: str, text: str) -> str:
    """`20240131` or `0131`."""
    plain = text.replace("-", "")
    try:
        if not plain.isascii() or not plain.isdigit() or len(plain) not in (4, 8):
            raise ValueError
        # A leap year: whether there is a February 29th is up to the crawl.
        date.fromisoformat(plain if len(plain) == 8 else f"2000{plain}")
    except ValueError:
        raise LockstepError(f"--{option}: {text!r} is no day; write 0131 or 2024-01-31") from None
    return plain
