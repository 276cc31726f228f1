"""Collected images of a large set: tars of 10,000 in place of a file for each.

DVC hashes, caches, pushes and checks out every file by itself. Names and bytes stay what they are:
`tar --extract` gives the files again.
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lockstep.core.errors import LockstepError
from lockstep.core.images import rgb_of

ABOVE = 100_000
"""How many images a set has at most as files of their own."""
EACH = 10_000
"""How many a tar has."""
_NAME = re.compile(r"(\d{5})-of-(\d{5})\.tar")


def pack(files: Sequence[Path]) -> None:
    """Move images of one folder, if they are more than `ABOVE`, into tars in it.

    These are `00000-of-00012.tar` and so on. The images keep this order, one that is named twice is
    there once, and the same images give the same bytes.
    """
    files = [*dict.fromkeys(files)]
    if len(files) <= ABOVE:
        return
    starts = range(0, len(files), EACH)
    for number, start in enumerate(starts):
        moved = files[start : start + EACH]
        path = moved[0].with_name(f"{number:05}-of-{len(starts):05}.tar")
        with tarfile.open(path, "w", encoding="utf-8") as tar:
            for file in moved:
                member = tarfile.TarInfo(file.name)
                member.size = file.stat().st_size
                with file.open("rb") as data:
                    tar.addfile(member, data)
        for file in moved:
            file.unlink()


def listed(folder: Path) -> list[Path]:
    """The PNG files of a folder, those in its tars as if they lay beside them; in no order.

    Raises `LockstepError` if a tar is damaged.
    """
    tars = tars_of(folder)
    if not tars:
        return [*folder.glob("*.png")]
    found: list[Path] = []
    for path in tars:
        with _opened(path) as tar:
            found += (folder / name for name in tar.getnames())
    return found


def tars_of(folder: Path) -> list[Path]:
    """The tars that `pack` left in a folder, in order. Raises `LockstepError` if one is gone."""
    found = sorted(path for path in folder.glob("*.tar") if _NAME.fullmatch(path.name))
    # The name of each says how many there were.
    named = _NAME.fullmatch(found[0].name) if found else None
    count = int(named[2]) if named else 0
    for number in range(count):
        path = folder / f"{number:05}-of-{count:05}.tar"
        if path not in found:
            raise LockstepError(f"{path}: missing; `dvc checkout` restores it")
    return found


def contents(files: Iterable[Path]) -> Iterator[bytes]:
    """The bytes of images, in files or in tars; of those in tars in the order they were packed in.

    An image may be asked for several times, one after the other. Raises `LockstepError` if a tar is
    damaged or has not that image, or a file cannot be read.
    """
    for folder, own in groupby(files, key=lambda file: file.parent):
        tars = tars_of(folder)
        if tars:
            yield from _in_turn(own, _members(tars))
        else:
            yield from map(_content, own)


def images(files: Iterable[Path]) -> Iterator[NDArray[np.uint8]]:
    """The same as (H, W, 3) bytes each. Raises `LockstepError` if one is no image, too."""
    files = [*files]
    for file, data in zip(files, contents(files), strict=True):
        yield rgb_of(data, file)


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise LockstepError(
            f"{file}: cannot be read ({error.strerror}); `dvc checkout` restores it"
        ) from None


def _in_turn(files: Iterable[Path], members: Iterator[tuple[str, bytes]]) -> Iterator[bytes]:
    name, data = "", b""
    for file in files:
        while name != file.name:
            try:
                name, data = next(members)
            except StopIteration:
                raise LockstepError(
                    f"{file}: not in the tars of its folder, or not where it belongs; `dvc "
                    "checkout` restores them"
                ) from None
        yield data


def _members(tars: Iterable[Path]) -> Iterator[tuple[str, bytes]]:
    for path in tars:
        with _opened(path) as tar:
            for member in tar:
                data = tar.extractfile(member)
                if data is None:
                    raise tarfile.ReadError(f"{member.name!r} is no file")
                yield member.name, data.read()


@contextmanager
def _opened(path: Path) -> Iterator[tarfile.TarFile]:
    """A tar that is read to its end in the block."""
    try:
        with tarfile.open(path, "r:", encoding="utf-8") as tar:
            yield tar
            # To tarfile it ends where it is cut between two members, or at a damaged header.
            with path.open("rb") as file:
                file.seek(tar.offset)
                rest = file.read()
            if len(rest) < 2 * tarfile.BLOCKSIZE or any(rest):
                raise tarfile.ReadError("unexpected end of data")
    except (tarfile.TarError, OSError) as error:
        raise LockstepError(f"{path}: damaged ({error}); `dvc checkout` restores it") from None
