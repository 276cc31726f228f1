"""Folders and archives as streams: everything is an entry, nothing is trusted or written out."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockstep.core.errors import LockstepError
from lockstep.sources.folders import limits, unpack
from lockstep.sources.folders.unpack import Entry, Source, entries

FILES = {"a.png": b"one", "deep/er/b.jpg": b"two" * 500, "deep/empty": b"", "ü ñ.png": b"\0" * 900}


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data, method)
    return file.getvalue()


def tarred(members: dict[str, bytes], *more: tarfile.TarInfo) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for info in more:
            archive.addfile(info)
    return file.getvalue()


PACK: dict[str, Callable[[dict[str, bytes]], bytes]] = {
    "zip": zipped,
    "tar": tarred,
    "tar.gz": lambda members: gzip.compress(tarred(members)),
    "tar.bz2": lambda members: bz2.compress(tarred(members)),
    "tar.xz": lambda members: lzma.compress(tarred(members)),
}


def read(path: Path, max_bytes: int = 10**6) -> list[Entry]:
    return list(entries([Source("s", path)], max_bytes))


def by_path(found: list[Entry]) -> dict[str, bytes | str]:
    assert len({entry.path for entry in found}) == len(found)
    return {e.path: e.refused if e.data is None else e.data for e in found}


def put(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("kind", PACK)
def test_every_kind_of_archive_gives_its_files(tmp_path: Path, kind: str) -> None:
    # The name says nothing.
    assert by_path(read(put(tmp_path / "x", PACK[kind](FILES)))) == FILES


def test_a_folder_gives_its_files_and_those_of_archives_in_it(tmp_path: Path) -> None:
    for name, data in FILES.items():
        put(tmp_path / "in" / name, data)
    put(tmp_path / "in/deep/x.zip", zipped(FILES))
    put(tmp_path / "in/y.txt", PACK["tar.xz"](FILES))
    expected = {**FILES}
    expected |= {f"deep/x.zip!/{name}": data for name, data in FILES.items()}
    expected |= {f"y.txt!/{name}": data for name, data in FILES.items()}
    assert by_path(read(tmp_path / "in")) == expected


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.sampled_from(sorted(PACK)), min_size=1, max_size=3),
    st.dictionaries(
        st.text("abcäß ,!/", min_size=1, max_size=8).map(lambda name: "n" + name + "x"),
        st.binary(max_size=3000).map(lambda data: b"." + data),
        min_size=1,  # a tar of nothing is zeros alone
        max_size=4,
    ),
)
def test_archives_in_archives_give_their_files(kinds: list[str], members: dict) -> None:
    data, prefix = PACK[kinds[0]](members), ""
    for kind in kinds[1:]:
        data, prefix = PACK[kind]({"inner": data}), f"inner!/{prefix}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unpack, "_IN_MEMORY", 100)
        path = Path(os.environ.get("TMPDIR", "/tmp")) / f"lockstep-unpack-{os.getpid()}"
        try:
            found = by_path(read(put(path, data)))
        finally:
            path.unlink()
    assert found == {prefix + name: content for name, content in members.items()}


def test_a_zip_with_names_in_big5_gives_its_files(tmp_path: Path) -> None:
    name = "照片/花.png".encode("big5")
    placeholder = b"x" * len(name)
    packed = zipped({placeholder.decode(): b"flower", "b.png": b"other"})
    found = by_path(read(put(tmp_path / "x", packed.replace(placeholder, name))))
    # It does not say in which encoding its names are: they are read as ZIP's own.
    assert found == {name.decode("cp437"): b"flower", "b.png": b"other"}


BAD_NAMES = ["../a.png", "x/../../a.png", "/etc/a.png", "C:\\a.png", "..\\a.png", "\\\\host\\a.png"]


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_names_that_lead_out_are_refused(tmp_path: Path, kind: str) -> None:
    bad = dict.fromkeys(BAD_NAMES, b"evil")
    path = put(tmp_path / "in" / "x", PACK[kind]({**bad, "..good..png": b"good"}))
    before = sorted(tmp_path.rglob("*"))
    found = by_path(read(path))
    assert found.pop("..good..png") == b"good"
    assert len(found) == len(BAD_NAMES)
    assert set(found.values()) == {"a name that leads out of the archive"}
    assert sorted(tmp_path.rglob("*")) == before


def special(name: str, kind: bytes, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def test_links_and_devices_in_a_tar_are_refused(tmp_path: Path) -> None:
    more = [
        special("soft", tarfile.SYMTYPE, "/etc/passwd"),
        special("hard", tarfile.LNKTYPE, "a.png"),
        special("fifo", tarfile.FIFOTYPE),
        special("disk", tarfile.BLKTYPE),
        special("zero", tarfile.CHRTYPE),
        special("folder", tarfile.DIRTYPE),
    ]
    found = by_path(read(put(tmp_path / "x", tarred({"a.png": b"one"}, *more))))
    assert found == {
        "a.png": b"one",
        "soft": "a link",
        "hard": "a link",
        **dict.fromkeys(("fifo", "disk", "zero"), "no regular file"),
    }


def test_links_and_encrypted_members_of_a_zip_are_refused(tmp_path: Path) -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        link = zipfile.ZipInfo("link")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr(zipfile.ZipInfo("secret"), "x")
        archive.writestr(zipfile.ZipInfo("folder/"), "")
        archive.writestr(zipfile.ZipInfo("open"), "x")
    data = bytearray(file.getvalue())
    for start, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = -1
        while (at := data.find(start, at + 1)) >= 0:
            length = 30 if flags == 6 else 46
            if data[at + length : at + length + 6] == b"secret":
                data[at + flags] |= 1
    found = by_path(read(put(tmp_path / "x", bytes(data))))
    assert found == {"link": "a link", "secret": "encrypted", "open": b"x"}


def test_links_and_pipes_in_a_folder_are_not_followed(tmp_path: Path) -> None:
    put(tmp_path / "secret.png", b"secret")
    inside = put(tmp_path / "in/a.png", b"one").parent
    (inside / "out.png").symlink_to(tmp_path / "secret.png")
    (inside / "up").symlink_to(tmp_path)
    (inside / "gone").symlink_to("nowhere")
    os.mkfifo(inside / "pipe")
    assert by_path(read(inside)) == {
        "a.png": b"one",
        **dict.fromkeys(("out.png", "up", "gone"), "a link"),
        "pipe": "no regular file",
    }


def test_a_name_that_is_no_text_is_written_in_another_way(tmp_path: Path) -> None:
    put(tmp_path / os.fsdecode(b"in/\xff.png"), b"one")
    assert by_path(read(tmp_path / "in")) == {"\\udcff.png": b"one"}


def test_large_files_are_not_read(tmp_path: Path) -> None:
    members = {"bomb.png": b"\0" * 10**7, "a.png": b"one" * 10}
    for kind, pack in PACK.items():
        found = by_path(read(put(tmp_path / kind, pack(members)), max_bytes=1000))
        assert found == {"bomb.png": "more bytes than download.max_bytes", "a.png": b"one" * 10}


@pytest.mark.parametrize("kind", ["tar.gz", "tar.bz2", "tar.xz", "zip"])
def test_what_unpacks_to_too_much_is_refused(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "_SLACK", 10**5)
    bomb = PACK[kind]({"1": b"\0" * 3 * 10**7})
    with pytest.raises(LockstepError, match="unpacks to more than 200 times its size"):
        read(put(tmp_path / "x", bomb), max_bytes=10**9)
    found = by_path(read(put(tmp_path / "y", tarred({"in": bomb, "a": b"one"})), max_bytes=10**9))
    assert found.pop("a") == b"one"
    (refused,) = found.values()
    assert refused == "archive: unpacks to more than 200 times its size"


def test_layers_of_bombs_end_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_TOTAL_SLACK", 10**6)
    data = gzip.compress(gzip.compress(b"\0" * 5 * 10**7))
    path = put(tmp_path / "x", tarred({f"{k}": data for k in range(3)}))
    monkeypatch.setattr(limits, "_TOTAL_RATIO", 10)
    with pytest.raises(LockstepError, match=r"s: unpacks to more than 10 times its size") as error:
        read(path)
    assert "\n" not in str(error.value)


def test_too_many_files_end_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_MEMBERS", 5)
    with pytest.raises(LockstepError, match="has more than 5 files; split it"):
        read(put(tmp_path / "x", zipped({str(k): b"" for k in range(6)})))


def test_absurd_nesting_is_refused(tmp_path: Path) -> None:
    data, name = zipped({"a.png": b"one"}), ""
    for _ in range(30):
        data = zipped({"z": data, "b": b"two"}, zipfile.ZIP_STORED)
    found = by_path(read(put(tmp_path / "x", data)))
    name = "!/".join(["z"] * limits.DEPTH)
    assert found[name] == "archive: too deep in other archives"
    assert len(found) == limits.DEPTH + 1
    assert all(value == b"two" for path, value in found.items() if path != name)


@pytest.mark.parametrize("kind", PACK)
def test_a_truncated_source_is_an_error_and_inside_another_a_row(tmp_path: Path, kind: str) -> None:
    data = PACK[kind]({f"{k}.png": os.urandom(3000) for k in range(20)})
    for share in (0.3, 0.6, 0.85):
        cut = data[: int(len(data) * share)]
        path = put(tmp_path / "x", cut)
        with pytest.raises(LockstepError, match=r"get it again|neither") as error:
            read(path)
        assert "\n" not in str(error.value)
        found = by_path(read(put(tmp_path / "y", zipped({"in": cut, "a.png": b"one"}))))
        assert found["a.png"] == b"one"
        assert str(found["in"]).startswith("archive: ")


def test_a_damaged_member_of_a_zip_is_a_row(tmp_path: Path) -> None:
    data = bytearray(zipped({"a": b"first", "b": b"second"}, zipfile.ZIP_STORED))
    data[data.find(b"first")] ^= 1
    found = by_path(read(put(tmp_path / "x", bytes(data))))
    assert found["b"] == b"second"
    assert str(found["a"]).startswith("damaged in the archive (Bad CRC-32")


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(sorted(PACK)), st.data())
def test_no_damage_leads_to_anything_but_rows_or_an_error(kind: str, data: st.DataObject) -> None:
    whole = bytearray(PACK[kind](FILES))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    path = Path(os.environ.get("TMPDIR", "/tmp")) / f"lockstep-damage-{os.getpid()}"
    try:
        read(put(path, bytes(whole)), max_bytes=5000)
    except LockstepError as error:
        assert "\n" not in str(error)
    finally:
        path.unlink()


def test_7z_and_other_files_are_no_sources(tmp_path: Path) -> None:
    with pytest.raises(LockstepError, match="7z cannot be read; make it a zip or tar"):
        read(put(tmp_path / "x", b"7z\xbc\xaf\x27\x1c" + b"\0" * 600))
    with pytest.raises(LockstepError, match="neither a folder nor a zip or tar archive"):
        read(put(tmp_path / "x", b"hello"))
    with pytest.raises(LockstepError, match="holds no archive"):
        read(put(tmp_path / "x", gzip.compress(b"hello")))
    with pytest.raises(LockstepError, match="no such file or folder"):
        read(tmp_path / "nothing")
