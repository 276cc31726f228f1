"""What a card is about, and how Markdown has it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lockstep.config.schema import REPLICA, Card

_SPECIAL = re.compile(r"([\\`*_\[\]<>|~&])")


@dataclass(frozen=True)
class Subject:
    """A collected set: the type of its source, the values that decided it, and what people say.

    `chooses` is whether collecting left some out and wrote down why.
    """

    kind: str
    values: Mapping[str, Any]
    said: Card
    chooses: bool

    @property
    def is_downloaded(self) -> bool:
        """Whether its images came from the web: from a board, or from a table of addresses."""
        return self.is_of_board or "crawl.table" in self.values

    @property
    def excludes(self) -> bool:
        """Whether `exclude.txt` takes images out of it."""
        return self.chooses or self.is_downloaded

    @property
    def is_of_board(self) -> bool:
        """Whether its images came from a web board."""
        return "crawl.source" in self.values

    @property
    def is_replica(self) -> bool:
        """Whether that board is the one that the project draws."""
        return self.values.get("crawl.source") == REPLICA

    @property
    def paths(self) -> Sequence[str]:
        """The names of the folders and archives that it came from, if it did."""
        return self.values.get("source.paths", ())

    @property
    def hashes(self) -> Sequence[str | None]:
        """The SHA-256 of each of them; None for the archives that the project draws itself."""
        return self.values["source.sha256"]

    @property
    def is_drawn(self) -> bool:
        """Whether all of it is drawn by the project."""
        if self.paths:
            return all(sha256 is None for sha256 in self.hashes)
        return self.kind == "rendered" or self.is_replica


def plain(text: Any) -> str:
    """Text in a line of Markdown, or a cell of a table, as it is."""
    return _SPECIAL.sub(r"\\\1", " ".join(str(text).split()))


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Cells in Markdown; the second of three columns has numbers where all of them are."""
    numbers = all(re.fullmatch(r"[\d,]+", row[1]) for row in rows)
    rule = ["---:" if column == 1 and numbers else "---" for column in range(len(heads))]
    return "\n".join(f"| {' | '.join(row)} |" for row in (heads, rule, *rows))
