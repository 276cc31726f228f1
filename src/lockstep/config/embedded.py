"""What Parquet files with images in their rows have in them, for whoever makes a workload of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath

from lockstep.core import parquet_images, tables
from lockstep.core.errors import LockstepError

_FILES, _ROWS = 20, 10  # whose images are measured


@dataclass(frozen=True)
class Embedded:
    """The Parquet files with images in the folder `home`, by their paths in it; or that file."""

    home: Path
    layouts: Mapping[PurePosixPath, parquet_images.Layout]

    def __bool__(self) -> bool:
        return bool(self.layouts)

    @property
    def has_text(self) -> bool:
        """Whether there are sentences."""
        return any(layout.text is not None for layout in self.layouts.values())

    def captioned(self) -> int:
        """How many rows have a sentence. Raises `LockstepError` if a file is damaged."""
        files = [name for name, layout in self.layouts.items() if layout.text is not None]
        return sum(bool(row.sentences) for name in files for row in self._rows(name))

    def names(self) -> list[PurePosixPath]:
        """The images as collecting calls them, with an ending. Raises `LockstepError` as above."""
        found = []
        for name, layout in self.layouts.items():
            place = PurePosixPath(f"{name}!") if name.parts else name
            for row in self._rows(name):
                if layout.label is None or row.label is not None:
                    found.append(place / (row.label or "") / f"{row.number:08}.png")
        if self.layouts and not found:
            raise LockstepError(
                f"{self.home}: no row of its Parquet files has a class; remove the column, or name "
                "other files"
            )
        return found

    def some(self) -> Iterator[bytes]:
        """A few of the images, of files far apart; none of a damaged one."""
        names = list(self.layouts)
        for name in names[:: max(1, len(names) // _FILES)]:
            file = self.home / name
            try:
                rows = list(islice(parquet_images.rows(file, self.layouts[name]), _ROWS))
            except Exception:  # Whatever pyarrow raises: collecting says.
                continue
            yield from (row.image for row in rows if row.image is not None)

    def _rows(self, name: PurePosixPath) -> Iterator[parquet_images.Row]:
        file = self.home / name
        with tables.damage_named(file):
            yield from parquet_images.rows(file, self.layouts[name], images=False)


def look(path: Path) -> Embedded:
    """What is at a path, a folder or a file.

    A damaged file beside others is none. Raises `LockstepError` if there is nothing else.
    """
    found = {}
    damaged: LockstepError | None = None
    for file in parquet_images.files(path):
        name = PurePosixPath(file.relative_to(path).as_posix())
        try:
            with tables.damage_named(file):
                layout = parquet_images.layout(file)
        except LockstepError as error:
            damaged = damaged or error
            continue
        if layout is not None:
            found[name] = layout
    if damaged is not None and not found:
        raise damaged
    return Embedded(path, found)
