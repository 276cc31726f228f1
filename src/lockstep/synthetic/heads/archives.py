"""Two archives of heads, as people put them on the web: with copies and rubbish among them.

`heads64.zip` has PNGs of 64 x 64 in one folder, `heads_mixed.tar.gz` JPEGs, PNGs and WebPs of 96 to
256 pixels in folders. What each file is, and whether a merge should keep it, is known without
drawing it.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from lockstep.core.files import atomic_file
from lockstep.core.processes import in_order
from lockstep.synthetic.heads import drawing
from lockstep.synthetic.painting import encoded, stream

SMALL, MIXED = "heads64.zip", "heads_mixed.tar.gz"
ARCHIVES = (SMALL, MIXED)

HEAD, COPY, NEAR, CLOTHES = "head", "copy", "near duplicate", "clothes"
BLANK, BROKEN, TINY, BANNER = "blank", "broken", "small", "aspect"

RUBBISH = {CLOTHES: 0.012, BLANK: 0.015, BROKEN: 0.012, TINY: 0.012, BANNER: 0.012}
"""Of each, so many for each head; at least one."""
_IN_ZIP, _COPIED, _NEAR = 0.55, 0.04, 0.08

Progress = Callable[[Iterable[Any], int], Iterable[Any]]


@dataclass(frozen=True)
class File:
    """A file of one of the archives."""

    path: str
    what: str  # `HEAD` for the first file that shows a head, or why it is none
    head: int | None  # that a merge should have from this file or another; None: from none
    number: int  # of the head, or of the piece of rubbish
    in_zip: bool
    drawn: int  # side at which it is drawn, before it is scaled to `side`
    side: int
    ending: str
    quality: int

    @property
    def archive(self) -> str:
        """Name of the archive that it is in."""
        return SMALL if self.in_zip else MIXED


def files(count: int, seed: int) -> list[File]:
    """All files of both archives, in order; `count` is the number of different heads."""
    found = [file for number in range(count) for file in _of_head(seed, number)]
    for what, share in RUBBISH.items():
        for k in range(max(1, round(share * count))):
            found.append(_of_rubbish(seed, what, count + k))
    numbered = [replace(file, path=_path(file, seed, k)) for k, file in enumerate(found)]
    return sorted(numbered, key=lambda file: (not file.in_zip, file.path))


def _of_head(seed: int, number: int) -> Iterator[File]:
    rng = stream(seed, number, 2)
    in_zip = bool(rng.random() < _IN_ZIP)
    side = 64 if in_zip else int(rng.integers(96, 257))
    first = File("", HEAD, number, number, in_zip, side, side, *_encoding(rng, in_zip))
    yield first
    fate = rng.random()
    if fate < _COPIED:
        yield replace(first, what=COPY)
    elif fate < _COPIED + _NEAR:
        # Scaled, or only encoded anew; always in the archive that takes all sizes, or shrunk for
        # the other one.
        to_zip = not in_zip and bool(rng.random() < 0.4)
        again = 64 if to_zip else int(rng.integers(96, 257))
        if not to_zip and rng.random() < 0.4:
            again = side
        ending, quality = _encoding(rng, to_zip)
        if not to_zip and again == side:
            ending, quality = ".jpg", int(rng.integers(55, 80))
        yield File("", NEAR, number, number, to_zip, side, again, ending, quality)


def _of_rubbish(seed: int, what: str, number: int) -> File:
    rng = stream(seed, number, 4 + list(RUBBISH).index(what))
    in_zip = what not in (TINY, BANNER) and bool(rng.random() < 0.5)
    side = 64 if in_zip else int(rng.integers(96, 257))
    if what == TINY:
        side = int(rng.integers(12, 44))
    elif what == BANNER:
        side = int(rng.integers(80, 140))
    return File("", what, None, number, in_zip, side, side, *_encoding(rng, in_zip))


def _encoding(rng: np.random.Generator, in_zip: bool) -> tuple[str, int]:
    kind, quality = rng.random(), int(rng.integers(80, 96))
    if in_zip or kind < 0.25:
        return ".png", 3
    return (".webp" if kind < 0.45 else ".jpg"), quality


def _path(file: File, seed: int, k: int) -> str:
    """A name that says nothing."""
    name = hashlib.sha256(f"{seed} {k}".encode()).hexdigest()
    if file.in_zip:
        return f"heads/{name[:10]}{file.ending}"
    return f"collection/{int(name[-2:], 16) % 6 + 1}/{name[-3]}/{name[:10]}{file.ending}"


def _content(file: File, seed: int) -> bytes:
    """The file, drawn and encoded."""
    rng = stream(seed, file.number, 3)
    if file.what == CLOTHES:
        image = drawing.clothes(rng, file.side)
    elif file.what == BLANK:
        image = drawing.blank(rng, file.side)
    else:
        image = drawing.draw(seed, file.number, file.drawn)
        if file.side != file.drawn:
            way = cv2.INTER_CUBIC if file.side > file.drawn else cv2.INTER_AREA
            image = cv2.resize(image, (file.side, file.side), interpolation=way)
        if file.what == BANNER:
            image = drawing.banner(image, rng, float(rng.uniform(2.6, 6)))
    data = encoded(image, file.ending, file.quality)
    return _damaged(data, rng) if file.what == BROKEN else data


def _damaged(data: bytes, rng: np.random.Generator) -> bytes:
    """What failed downloads leave of a file."""
    kind = int(rng.integers(4))
    if kind < 2:
        return (b"<!DOCTYPE html><html><body>404 Not Found</body></html>\n", b"")[kind]
    if kind == 2:
        return rng.bytes(int(rng.integers(200, 4000)))
    return data[: int(len(data) * rng.uniform(0.1, 0.7))]


def write(folder: Path, count: int, seed: int, processes: int, progress: Progress) -> list[Path]:
    """Draw both archives into `folder`; the bytes depend on `count` and `seed` alone.

    The same with any number of processes, and with one version of OpenCV and zlib.
    """
    planned = files(count, seed)
    contents = in_order(partial(_content, seed=seed), planned, processes)
    entries = iter(progress(zip(planned, contents, strict=True), len(planned)))
    in_zip = sum(file.in_zip for file in planned)
    for name, writer, size in (
        (SMALL, _write_zip, in_zip),
        (MIXED, _write_tar, len(planned) - in_zip),
    ):
        with atomic_file(folder / name) as unfinished:
            writer(unfinished, list(islice(entries, size)))
    return [folder / name for name in ARCHIVES]


def _write_zip(path: Path, entries: Sequence[tuple[File, bytes]]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for file, data in entries:
            archive.writestr(zipfile.ZipInfo(file.path), data)


def _write_tar(path: Path, entries: Sequence[tuple[File, bytes]]) -> None:
    with (
        path.open("wb") as raw,
        gzip.GzipFile("", "wb", compresslevel=1, fileobj=raw, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w|", format=tarfile.PAX_FORMAT) as archive,
    ):
        for file, data in entries:
            entry = tarfile.TarInfo(file.path)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
