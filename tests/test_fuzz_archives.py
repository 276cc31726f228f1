"""Archives that somebody made to do harm, or that came damaged: entries, or one line."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
import tarfile
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collecting import contents
from fuzzing import damaged, one_line
from lockstep.config.new import inspect_images, inspect_photos
from lockstep.core.errors import LockstepError
from lockstep.sources.folders import limits, unpack
from lockstep.sources.folders.unpack import Entry, Source, entries
from odd_files import encoded, head

_MOST = 5000
_NAMES = (
    *(
        "a.png",
        "b/c.png",
        "../x.png",
        "/x.png",
        "a/../../x.png",
        "C:\\x.png",
        "..\\x.png",
        "./a.png",
    ),
    *(
        "~/x.png",
        "a\0.png",
        "a\n.png",
        "\x1b[31m.png",
        "ü.png",
        "",
        ".",
        "..",
        "/",
        "a/",
        "n" * 300,
    ),
    *("x.zip", "x.tar", "x.tar.gz", "__MACOSX/._a.png", "\udcff.png", "CON", "train_info.json"),
)
_KINDS = (tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE)
_KINDS += (tarfile.DIRTYPE, tarfile.GNUTYPE_SPARSE, tarfile.CONTTYPE, b"Z")


@cache
def _contents() -> tuple[bytes, ...]:
    image = encoded(head(1, 16))
    return b"", b"x", image, image + bytes(9000), b"PK\3\4", b"BZh9", b"\x1f\x8b\x08\0", bytes(700)


def _zip(members: list[tuple[str, bytes, bytes]]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data, kind in {one[0]: one for one in members}.values():
            info = zipfile.ZipInfo(name.encode("utf-8", "replace").decode())
            if kind == tarfile.SYMTYPE:
                info.external_attr = 0o120777 << 16
            archive.writestr(info, data)
    return file.getvalue()


def _tar(members: list[tuple[str, bytes, bytes]], form: int = tarfile.PAX_FORMAT) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as archive:
        for name, data, kind in members:
            info = tarfile.TarInfo(name.replace("\0", "0"))
            info.type, info.size = kind, len(data)
            if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE):
                info.linkname = "/etc/hostname"
            archive.addfile(info, io.BytesIO(data))
    return file.getvalue()


_PACK: dict[str, Callable[[Any], bytes]] = {
    "zip": _zip,
    "tar": _tar,
    "old tar": lambda members: _tar(members, tarfile.GNU_FORMAT),
    "tar.gz": lambda members: gzip.compress(_tar(members), 1),
    "tar.bz2": lambda members: bz2.compress(_tar(members), 1),
    "tar.xz": lambda members: lzma.compress(_tar(members), preset=0),
    "zip.gz": lambda members: gzip.compress(_zip(members), 1),
}


def _sparse(name: str, size: int, data: bytes = b"") -> bytes:
    """A member of GNU's old kind: `size` bytes, of which the archive has the first few."""
    info = tarfile.TarInfo(name)
    info.type, info.size = tarfile.GNUTYPE_SPARSE, len(data)
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[386 : 386 + 24] = b"%011o\0%011o\0" % (0, len(data))
    header[483:495] = b"%011o\0" % size
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + data + bytes(-len(data) % 512)


@st.composite
def _archives(draw: st.DrawFn) -> bytes:
    members = draw(
        st.lists(
            st.tuples(
                st.sampled_from(_NAMES),
                st.sampled_from(_contents()),
                st.sampled_from(_KINDS) | st.just(tarfile.REGTYPE),
            ),
            max_size=4,
        )
    )
    for _ in range(draw(st.integers(0, 2))):  # archives in archives
        kind = draw(st.sampled_from(sorted(_PACK)))
        members = [("inner", _PACK[kind](members), tarfile.REGTYPE), *members[:1]]
    whole = _PACK[draw(st.sampled_from(sorted(_PACK)))](members)
    if draw(st.booleans()):
        whole = _sparse("s.png", draw(st.sampled_from([0, 700, 10**6, 8**11 - 1]))) + whole
    return draw(damaged(whole, 3)) if draw(st.booleans()) else whole


def _read(path: Path) -> list[Entry]:
    found = list(entries([Source("s", path)], _MOST))
    for entry in found:
        assert entry.data is None or len(entry.data) <= _MOST
        assert (entry.data is None) == bool(entry.refused)
        one_line(LockstepError(f"x{entry.path}{entry.refused}"))
        entry.path.encode()
    return found


@settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_archives())
def test_an_archive_is_entries_or_one_line_and_nothing_is_written(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, archive: bytes
) -> None:
    monkeypatch.setattr(limits, "_SLACK", 2**18)
    monkeypatch.setattr(limits, "_TOTAL_SLACK", 2**21)
    monkeypatch.setattr(unpack, "_SPOOL", 2**21)
    folder = tmp_path / "in"
    folder.mkdir(exist_ok=True)
    path = folder / "x"
    path.write_bytes(archive)
    for read in (_read, inspect_images, inspect_photos):
        for source in (path, folder):
            try:
                read(source)
            except LockstepError as error:
                one_line(error)
    assert contents(tmp_path) == {"in/x": archive}


def test_a_changed_bit_in_an_xz_is_named_by_lockstep_new(tmp_path: Path) -> None:
    """It was an LZMAError."""
    path = tmp_path / "x.tar.xz"
    noise = np.random.default_rng(0)
    members = [(f"{n}.png", noise.bytes(50_000), tarfile.REGTYPE) for n in range(3)]
    whole = bytearray(lzma.compress(_tar(members)))
    whole[-20_000] ^= 1  # well behind the first member, at which it is opened
    path.write_bytes(whole)
    for read in (inspect_images, inspect_photos):
        with pytest.raises(LockstepError, match="no zip or tar that can be read"):
            read(path)


def test_holes_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sparse file is larger than what the archive has of it."""
    monkeypatch.setattr(limits, "_SLACK", 2**16)
    monkeypatch.setattr(limits, "_RATIO", 2)
    data = encoded(head(1, 16))
    path = tmp_path / "x"
    path.write_bytes(_sparse("a.png", len(data) + 500, data) + bytes(1024))
    (found,) = _read(path)
    assert found.data == data + bytes(500)
    path.write_bytes(b"".join(_sparse(f"{n}.png", _MOST) for n in range(100)) + bytes(1024))
    with pytest.raises(LockstepError, match="unpacks to more than 2 times its size"):
        _read(path)


def test_a_name_of_megabytes_is_not_read(tmp_path: Path) -> None:
    for kind in (tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.XGLTYPE):
        info = tarfile.TarInfo("x")
        info.type, info.size = kind, 2**21
        path = tmp_path / "x"
        path.write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(2**21) + bytes(1024))
        with pytest.raises(LockstepError, match="says more of a file than is read"):
            _read(path)


@pytest.mark.parametrize("is_large", [False, True], ids=["zip", "zip64"])
def test_a_list_of_millions_is_not_read(
    is_large: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    members = [(f"{n}.png", b"x", tarfile.REGTYPE) for n in range(30)]
    whole = _zip(members)
    if is_large:  # as of an archive of more than 4 GB
        ends = whole[-22:]
        count, size, start = struct.unpack("<HII", ends[10:20])
        long = struct.pack("<4sQHHIIQQQQ", b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, start)
        place = struct.pack("<4sIQI", b"PK\6\7", 0, len(whole) - 22, 1)
        whole = whole[:-22] + long + place + ends[:12] + b"\xff" * 8 + ends[20:]
    path = tmp_path / "x"
    path.write_bytes(whole)
    assert len(_read(path)) == 30
    monkeypatch.setattr(unpack, "_MOST_LISTED", 1000)
    with pytest.raises(LockstepError, match="lists too many files"):
        _read(path)
