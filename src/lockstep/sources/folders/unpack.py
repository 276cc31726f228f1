"""The files in folders and archives, one after another, read as streams and never written out.

Nothing here trusts a name, a size or a link that somebody else wrote: names are only labels, sizes
are only upper limits, and links are not followed.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import re
import stat
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import IO, Self, cast

from lockstep.core import parquet_images
from lockstep.core.errors import LockstepError, reason
from lockstep.sources.folders.limits import DEPTH, Budget, Counted, Limited, Readable, Refused

_HEAD = 600
_IN_MEMORY, _SPOOL = 2**25, 2**32
_XZ_MEMORY = 2**28
# Of a tar: the types of members that tarfile reads whole, and their size at most.
_WHOLE = (
    *(tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE),
    *(tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK),
)
_MOST_SAID = 2**20
# Of a zip: its last bytes, with a comment of 64 kB, and the size of its list at most.
_END_OF_ZIP, _MOST_LISTED = 2**16 + 22 + 20 + 56, 2**27
_LINK, _SPECIAL = "a link", "no regular file"
_MAGIC = {
    b"PK\x03\x04": "zip",
    b"PK\x05\x06": "zip",
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"7z\xbc\xaf": "7z",
    b"Rar!": "rar",
    parquet_images.MAGIC: "parquet",
}


@dataclass(frozen=True)
class Source:
    """A folder or an archive at `path`, called `name` in tables.

    Links to files are followed where the folder is the project's own: DVC may have made them.
    """

    name: str
    path: Path
    is_own: bool = False


@dataclass(frozen=True)
class Entry:
    """A file of a source: its bytes, or why they were not read.

    `path` is inside the source; in an archive inside it after `archive!/`.
    """

    source: str
    path: str
    data: bytes | None
    refused: str = ""


def entries(sources: Sequence[Source], max_bytes: int) -> Iterator[Entry]:
    """All files of the sources, in whatever order they are there.

    A file larger than `max_bytes` is not read, unless it is an archive. Raises `LockstepError` if a
    source is missing, no folder or archive, damaged or a bomb; an archive in a source that is, is
    an entry of its own.
    """
    for source in sources:
        if source.path.is_dir():
            yield from _of_folder(source, max_bytes)
        elif source.path.is_file():
            yield from _of_archive(source, max_bytes)
        else:
            raise LockstepError(f"{source.path}: no such file or folder; see source.paths")


def _of_folder(source: Source, max_bytes: int) -> Iterator[Entry]:
    todo = [source.path]
    while todo:
        folder = todo.pop()
        try:
            inside = list(os.scandir(folder))
        except OSError as error:
            if folder == source.path:
                raise LockstepError(f"{folder}: not readable ({error.strerror})") from None
            label = _label(folder.relative_to(source.path).as_posix())
            yield Entry(source.name, label, None, f"not readable ({error.strerror})")
            continue
        for found in inside:
            path = Path(found.path)
            label = _label(path.relative_to(source.path).as_posix())
            if found.is_symlink() and not source.is_own:
                yield Entry(source.name, label, None, _LINK)
            elif found.is_dir(follow_symlinks=False):
                todo.append(path)
            elif not found.is_file(follow_symlinks=source.is_own):
                yield Entry(source.name, label, None, _SPECIAL)
            else:
                budget = Budget(f"{source.name}: {label}", found.stat().st_size)
                try:
                    with path.open("rb") as file:
                        yield from _Reader(source.name, max_bytes, budget).read(label, file, 0)
                except OSError as error:
                    yield Entry(source.name, label, None, f"not readable ({error.strerror})")


def _of_archive(source: Source, max_bytes: int) -> Iterator[Entry]:
    reader = _Reader(source.name, max_bytes, Budget(source.name, source.path.stat().st_size))
    with source.path.open("rb") as file:
        kind = _kind(file.read(_HEAD))
        file.seek(0)
        if kind is None:
            raise LockstepError(
                f"{source.path}: neither a folder nor a zip or tar archive; see source.paths"
            )
        try:
            yield from reader.unpack("", kind, file, 0)
        except Refused as error:
            raise LockstepError(f"{source.path}: {error}; get it again") from None


def _kind(head: bytes) -> str | None:
    """What sort of archive begins with `head`, if it is one. Names say nothing."""
    for magic, kind in _MAGIC.items():
        if head.startswith(magic):
            return kind
    try:
        tarfile.TarInfo.frombuf(head[:512], "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return None
    return "tar"


def _label(name: str) -> str:
    """A name that can be written in UTF-8 and in one line, whatever bytes it was made of."""
    written = name.encode("utf-8", "backslashreplace").decode("utf-8")
    return re.sub(r"[\x00-\x1f\x7f\x85\u2028\u2029]", lambda c: f"\\x{ord(c[0]):02x}", written)


def _is_unsafe(name: str) -> bool:
    """Whether a member of that name, extracted, could land outside of its folder."""
    slashed = name.replace("\\", "/")
    return (
        slashed.startswith("/")
        or re.match(r"[A-Za-z]:", slashed) is not None
        or ".." in slashed.split("/")
        or "\0" in name
    )


@dataclass(frozen=True)
class _Reader:
    """Reads one source."""

    source: str
    max_bytes: int
    budget: Budget

    def read(self, path: str, file: Readable, depth: int) -> Iterator[Entry]:
        """The entry of a file, or those of the archive that it turns out to be.

        At depth 0 it is a file on disk.
        """
        head = file.read(_HEAD)
        kind = _kind(head)
        if kind == "parquet" and not parquet_images.is_named_so(PurePosixPath(path)):
            kind = None  # whatever else it may be, it is no source of images
        if kind is not None:
            begun: Readable = _Begun(head, file)
            if depth == 0:
                begun = file
                cast(IO[bytes], file).seek(0)
            try:
                yield from self.unpack(path, kind, begun, depth)
            except Refused as error:
                yield self._refused(path, f"archive: {error}")
            return
        data = head + file.read(self.max_bytes + 1 - len(head)) if len(head) == _HEAD else head
        self.budget.one_more()
        if len(data) > self.max_bytes:
            yield self._refused(path, "more bytes than download.max_bytes")
        else:
            yield Entry(self.source, path, data)

    def unpack(self, path: str, kind: str, file: Readable, depth: int) -> Iterator[Entry]:
        """The entries of an archive. Raises `Refused` if something is wrong with all of it."""
        if depth == DEPTH:
            raise Refused("too deep in other archives")
        try:
            if kind == "zip":
                yield from self._zip(path, file, depth)
            elif kind == "tar":
                yield from self._tar(path, file, depth)
            elif kind == "parquet":
                yield from self._parquet(path, file, depth)
            elif kind in ("7z", "rar"):
                raise Refused(f"{kind} cannot be read; make it a zip or tar archive")
            else:
                yield from self._compressed(path, kind, file, depth)
        except (Refused, LockstepError):
            raise
        except Exception as error:  # The libraries raise whatever a damaged file leads them to.
            raise Refused(f"damaged ({reason(error)})") from None

    def _compressed(self, path: str, kind: str, file: Readable, depth: int) -> Iterator[Entry]:
        packed = Counted(file)
        opened = cast(IO[bytes], packed)
        plain: Readable
        if kind == "gzip":
            plain = gzip.GzipFile(fileobj=opened)
        elif kind == "bzip2":
            plain = bz2.BZ2File(opened)
        else:
            plain = _Xz(packed)
        unpacked = Limited(plain, lambda: packed.count, self.budget)
        head = unpacked.read(_HEAD)
        inner = _kind(head)
        begun = _Begun(head, unpacked)
        if inner is None:
            if not path:
                raise Refused("holds no archive")
            yield from self.read(path, begun, depth + 1)
        else:
            yield from self.unpack(path, inner, begun, depth + 1)

    def _zip(self, path: str, file: Readable, depth: int) -> Iterator[Entry]:
        if depth == 0:  # a file on disk
            yield from self._zip_members(path, cast(IO[bytes], file), depth)
            return
        # The list of a zip's members stands at its end: it must be there whole. The copy has no
        # name, and ends with this process.
        with tempfile.SpooledTemporaryFile(_IN_MEMORY) as whole:
            size = 0
            while part := file.read(2**20):
                size += len(part)
                if size > _SPOOL:
                    raise Refused(f"a zip of more than {_SPOOL // 2**30} GiB in another archive")
                whole.write(part)
            whole.seek(0)
            yield from self._zip_members(path, cast(IO[bytes], whole), depth)

    def _zip_members(self, path: str, file: IO[bytes], depth: int) -> Iterator[Entry]:
        size = file.seek(0, os.SEEK_END)
        if _size_of_list(file, size) > _MOST_LISTED:
            raise Refused("lists too many files; split it")
        with zipfile.ZipFile(file) as archive:
            read = 0
            for info in archive.infolist():
                label = _inside(path, info.filename)
                if info.is_dir():
                    continue
                if _is_unsafe(info.orig_filename):
                    yield self._refused(label, "a name that leads out of the archive")
                elif stat.S_ISLNK(info.external_attr >> 16):
                    yield self._refused(label, _LINK)
                elif info.flag_bits & 1:
                    yield self._refused(label, "encrypted")
                else:
                    try:
                        with archive.open(info) as member:
                            # Members may share their packed bytes: the sum of all counts.
                            layer = Limited(member, lambda: size, self.budget, read)
                            yield from self.read(label, layer, depth + 1)
                            read = layer.count
                    except (Refused, LockstepError):
                        raise
                    except Exception as error:
                        yield self._refused(label, f"damaged in the archive ({reason(error)})")

    def _tar(self, path: str, file: Readable, depth: int) -> Iterator[Entry]:
        packed = Counted(file)
        plain = Limited(packed, lambda: packed.count, self.budget)
        tar = cast(IO[bytes], plain)
        read = 0
        with tarfile.open(fileobj=tar, mode="r|", tarinfo=_Header) as archive:
            while (info := archive.next()) is not None:
                archive.members.clear()  # type: ignore[attr-defined] # it would keep all
                label = _inside(path, info.name)
                if info.isdir():
                    continue
                if info.issym() or info.islnk():
                    yield self._refused(label, _LINK)
                elif not info.isreg():
                    yield self._refused(label, _SPECIAL)
                elif _is_unsafe(info.name):
                    yield self._refused(label, "a name that leads out of the archive")
                else:
                    member = archive.extractfile(info)
                    assert member is not None
                    # The holes of a sparse file are read, and are not in the archive.
                    layer = Limited(member, lambda: packed.count, self.budget, read)
                    yield from self.read(label, layer, depth + 1)
                    read = layer.count
        plain.drain()
        if plain.last.strip(b"\0"):
            raise Refused("ends in the middle")

    def _parquet(self, path: str, file: Readable, depth: int) -> Iterator[Entry]:
        """The images in its rows, as if they lay in folders of their classes."""
        if depth > 0:
            raise Refused("a Parquet file in an archive; unpack that one")
        opened = cast(IO[bytes], file)
        found = parquet_images.layout(opened)
        if found is None:
            raise Refused("a table without images")
        for row in parquet_images.rows(opened, found):
            name = _inside(path, "/".join(filter(None, (row.label, f"{row.number:08}"))))
            if row.image is None:
                yield self._refused(name, "a row without an image")
            elif found.label is not None and row.label is None:
                yield self._refused(name, "a row without a class")
            else:
                self.budget.spend(len(row.image))
                yield from self.read(name, BytesIO(row.image), depth + 1)

    def _refused(self, path: str, why: str) -> Entry:
        self.budget.one_more()
        return Entry(self.source, path, None, why)


def _size_of_list(file: IO[bytes], size: int) -> int:
    """How many bytes a zip says that its list of members has; `zipfile` reads it whole."""
    file.seek(max(0, size - _END_OF_ZIP))
    tail = file.read(_END_OF_ZIP)
    end = tail.rfind(b"PK\5\6")
    found = int.from_bytes(tail[end + 12 : end + 16], "little") if end >= 0 else 0
    # Before it stands, of a large one, where its other end is: 20 bytes, and those 56 before them.
    if tail[end - 20 : end - 16] == b"PK\6\7" and end >= 76:
        found = int.from_bytes(tail[end - 36 : end - 28], "little")
    return found


def _inside(path: str, name: str) -> str:
    return f"{path}!/{_label(name)}" if path else _label(name)


class _Header(tarfile.TarInfo):
    """What is said of a member; a name, or a list of further attributes, is read whole."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        found = super().frombuf(buf, encoding, errors)
        if found.type in _WHOLE and found.size > _MOST_SAID:
            raise Refused("says more of a file than is read")
        return found


class _Begun:
    """A file of which the head has been read already."""

    def __init__(self, head: bytes, file: Readable) -> None:
        self._head, self._file = head, file

    def read(self, size: int = -1) -> bytes:
        if not self._head:
            return self._file.read(size)
        if size < 0:
            data, self._head = self._head + self._file.read(), b""
            return data
        data, self._head = self._head[:size], self._head[size:]
        return data if len(data) == size else data + self._file.read(size - len(data))


class _Xz:
    """The unpacked bytes of an xz file; `lzma.LZMAFile` has no limit for its memory."""

    def __init__(self, file: Readable) -> None:
        self._file = file
        self._stream = lzma.LZMADecompressor(lzma.FORMAT_XZ, _XZ_MEMORY)

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes, at least one before the end."""
        while True:
            packed = b""
            if self._stream.eof:
                packed = (self._stream.unused_data or self._file.read(2**16)).lstrip(b"\0")
                if not packed:
                    return b""
                self._stream = lzma.LZMADecompressor(lzma.FORMAT_XZ, _XZ_MEMORY)
            elif self._stream.needs_input:
                packed = self._file.read(2**16)
                if not packed:
                    raise EOFError("ends in the middle")
            data = self._stream.decompress(packed, size)
            if data:
                return data
