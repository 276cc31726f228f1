"""Faces out of one's own photographs: folders and archives with whatever people keep in them."""

from __future__ import annotations

import csv
import dataclasses
import errno
import io
import os
import random
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from collecting import contents, silent
from lockstep.config.new import FACES
from lockstep.config.sources import Photos
from lockstep.core import hashing, heic
from lockstep.core.errors import LockstepError
from lockstep.sources.exclude import Exclusions
from lockstep.sources.faces import collect as faces
from lockstep.sources.faces.collect import Collection
from lockstep.sources.faces.detect import DetectionSettings
from lockstep.sources.folders.files import verified
from lockstep.sources.folders.unpack import Source
from lockstep.sources.photo_faces import collect_photos, read
from lockstep.sources.resume_cache import open_cache
from lockstep.synthetic.portraits import image
from lockstep.synthetic.portraits.plans import kind_of
from odd_files import huge_png

RULES = Photos(type="photos", paths=("photos",), sha256=(), **FACES)
DETECTION = DetectionSettings.of(RULES, max_pixels=10**8)
NOTHING = Exclusions(frozenset())


def of_kind(kind: str, count: int) -> list[bytes]:
    numbers = [number for number in range(1000) if kind_of(0, number) == kind][:count]
    return [image(number).data for number in numbers]


CLEAR = of_kind("portrait", 4)


def run(
    out: Path, *sources: Path, exclusions: Exclusions = NOTHING, processes: int = 1
) -> tuple[Collection, list[dict[str, str]]]:
    out.mkdir(parents=True)
    named = [Source(path.name, path) for path in sources]
    with open_cache(out.parent / f"{out.name}.db") as cache:
        found = collect_photos(
            named, out, cache, DETECTION, RULES, exclusions, 10**8, processes, silent
        )
    return found, table(out)


def table(out: Path) -> list[dict[str, str]]:
    with (out / "decisions.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def photos(folder: Path) -> Path:
    """Four clear portraits in two folders."""
    (folder / "2019 trip").mkdir(parents=True)
    for number, data in enumerate(CLEAR):
        place = folder if number < 2 else folder / "2019 trip"
        (place / f"{number}.jpg").write_bytes(data)
    return folder


def test_a_folder_of_photographs_gives_its_faces(tmp_path: Path) -> None:
    found, rows = run(tmp_path / "out", photos(tmp_path / "photos"))
    assert found.kept == 4
    places = {row["address"]: row["decision"] for row in rows}
    assert places == {
        f"photos:{name}": "kept"
        for name in ("0.jpg", "1.jpg", "2019 trip/2.jpg", "2019 trip/3.jpg")
    }
    collected = read(tmp_path / "out")
    assert len(collected.images) == 4 and len(set(collected.groups)) == 4
    with Image.open(collected.images[0]) as crop:
        assert (crop.size, crop.mode) == ((64, 64), "RGB")


@pytest.mark.parametrize("kind", ["zip", "tar", "nested"])
def test_an_archive_gives_the_same_crops(tmp_path: Path, kind: str) -> None:
    folder = photos(tmp_path / "photos")
    packed = tmp_path / f"photos.{kind}"
    if kind == "tar":
        with tarfile.open(packed, "w") as tar:
            tar.add(folder, "photos")
    else:
        with zipfile.ZipFile(packed, "w") as archive:
            for file in sorted(folder.rglob("*.jpg")):
                archive.write(file, file.relative_to(folder))
        if kind == "nested":
            outer = tmp_path / "outer.zip"
            with zipfile.ZipFile(outer, "w") as archive:
                archive.write(packed, "more/inner.zip")
            packed = outer
    run(tmp_path / "out", folder)
    run(tmp_path / "out_packed", packed)
    crops = contents(tmp_path / "out" / "crops")
    assert len(crops) == 4
    assert contents(tmp_path / "out_packed" / "crops") == crops


def test_every_other_file_is_a_row_and_the_rest_goes_on(tmp_path: Path) -> None:
    folder = photos(tmp_path / "photos")
    outside = tmp_path / "outside.jpg"
    outside.write_bytes(of_kind("portrait", 5)[4])
    (folder / "link.jpg").symlink_to(outside)
    (folder / "again.jpg").write_bytes(CLEAR[0])
    (folder / "cut.jpg").write_bytes(CLEAR[1][:4000])
    (folder / "empty.jpg").touch()
    (folder / "huge.png").write_bytes(huge_png(20_000, 10_000))
    (folder / "notes.txt").write_text("who is who")
    (folder / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0 and so on")
    os.mkfifo(folder / "pipe.jpg")
    (folder / "Icon\r").touch()  # macOS puts it into folders
    grey = np.full((300, 300, 3), 128, np.uint8)
    Image.fromarray(grey).save(folder / "nobody.webp")
    Path(os.fsdecode(os.fsencode(folder) + b"/\xa4\xa4\xa4\xe5.jpg")).write_bytes(CLEAR[3] + b" ")
    with zipfile.ZipFile(folder / "more.zip", "w") as archive:
        archive.writestr("../../climbs.jpg", outside.read_bytes())
        archive.writestr("/absolute.jpg", outside.read_bytes())
    found, rows = run(tmp_path / "out", folder)
    became = {row["address"].removeprefix("photos:"): (row["decision"], row["why"]) for row in rows}
    assert found.kept == 4
    assert became["0.jpg"] == ("kept", "")
    assert became["again.jpg"] == ("copy", "photos:0.jpg")
    assert became["link.jpg"] == ("refused", "a link")
    assert became["pipe.jpg"] == ("refused", "no regular file")
    assert became["cut.jpg"] == ("broken", "truncated or damaged")
    assert became["empty.jpg"] == ("broken", "empty")
    assert became["huge.png"] == ("broken", "more pixels than download.max_pixels")
    assert became["Icon\\x0d"] == ("broken", "empty")
    assert became["notes.txt"] == ("broken", "no image of a known format")
    assert became["Thumbs.db"][0] == "broken"
    assert became["nobody.webp"] == ("faceless", "")
    assert became["\\udca4\\udca4\\udca4\\udce5.jpg"][0] in (
        "duplicate",
        "kept",
    )  # CLEAR[3], once more
    assert {name: what[0] for name, what in became.items() if "more.zip" in name} == {
        "more.zip!/../../climbs.jpg": "refused",
        "more.zip!//absolute.jpg": "refused",
    }
    assert not list(tmp_path.rglob("climbs.jpg"))


def test_what_may_not_be_read_is_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file and a folder of somebody else's, as they look to those who are not root."""
    folder = photos(tmp_path / "photos")
    (folder / "secret.jpg").write_bytes(CLEAR[0])
    (folder / "theirs").mkdir()
    opened, listed = Path.open, os.scandir

    def refuse(path: Path) -> None:
        if path.name in ("secret.jpg", "theirs"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    def as_user(path: Path, *arguments: Any, **options: Any) -> Any:
        refuse(path)
        return opened(path, *arguments, **options)

    def scan(path: Path) -> Any:
        refuse(Path(path))
        return listed(path)

    monkeypatch.setattr(Path, "open", as_user)
    monkeypatch.setattr(os, "scandir", scan)
    found, rows = run(tmp_path / "out", folder)
    became = {row["address"].removeprefix("photos:"): (row["decision"], row["why"]) for row in rows}
    assert found.kept == 4
    for name in ("secret.jpg", "theirs"):
        assert became[name] == ("refused", "not readable (Permission denied)")


def test_an_exclusion_takes_a_face_and_its_copies(tmp_path: Path) -> None:
    folder = photos(tmp_path / "photos")
    (folder / "again.jpg").write_bytes(CLEAR[0])
    smaller = Image.open(io.BytesIO(CLEAR[0]))
    smaller.resize((smaller.width * 9 // 10, smaller.height * 9 // 10)).save(folder / "small.png")
    (folder / "bad.jpg").write_bytes(b"bad")
    entries = frozenset({"photos:again.jpg", "photos:bad.jpg", hashing.sha256(folder / "1.jpg")})
    found, rows = run(tmp_path / "out", folder, exclusions=Exclusions(entries))
    became = {row["address"].removeprefix("photos:"): row["decision"] for row in rows}
    assert found.kept == 2
    for name in ("0.jpg", "small.png", "1.jpg", "bad.jpg"):
        assert became[name] == "excluded", name


def test_an_entry_that_names_nothing_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path / "out", photos(tmp_path / "p"), exclusions=Exclusions(frozenset({"p:9.jpg"})))
    assert "'p:9.jpg' matches nothing among the files of source.paths" in capsys.readouterr().err


def test_neither_order_nor_processes_nor_an_earlier_run_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = photos(tmp_path / "photos")
    run(tmp_path / "out", folder)
    listed = os.scandir

    def shuffled(path: str | Path) -> list[os.DirEntry[str]]:
        found = list(listed(path))
        random.Random(1).shuffle(found)
        return found

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", shuffled)
        run(tmp_path / "shuffled", folder, processes=2)
    assert contents(tmp_path / "shuffled") == contents(tmp_path / "out")

    def again(file: tuple[str, bytes], settings: DetectionSettings) -> str:
        raise AssertionError(file[0])

    monkeypatch.setattr(faces, "detect_in_file", again)
    (tmp_path / "out").rename(tmp_path / "first")
    run(tmp_path / "out", folder)  # with the cache of the first time
    assert contents(tmp_path / "out") == contents(tmp_path / "first")


def test_what_is_wrong_is_said_in_one_true_line(tmp_path: Path) -> None:
    def error_of(path: Path, name: str) -> str:
        with pytest.raises(LockstepError) as caught:
            run(tmp_path / name, path)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    empty = tmp_path / "empty"
    empty.mkdir()
    assert "no image" in error_of(empty, "a")
    (empty / "notes.txt").write_text("nothing here")
    (empty / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(40))
    said = error_of(empty, "b")
    assert "no image to look for faces in" in said
    assert ("truncated or damaged" if heic.IS_READ else heic.WANTED) in said
    bare = tmp_path / "bare"
    bare.mkdir()
    for number in range(5):
        Image.new("RGB", (200, 200), (40 * number, 90, 90)).save(bare / f"{number}.png")
    said = error_of(bare, "c")
    assert "no face was found in 5 images" in said and "loosen" not in said
    for number, data in enumerate(of_kind("blurred", 2)):
        (bare / f"blurred{number}.jpg").write_bytes(data)
    assert "blurred 2" in error_of(bare, "d")
    (tmp_path / "text.zip").write_text("no archive")
    assert "neither a folder nor a zip or tar archive" in error_of(tmp_path / "text.zip", "e")
    with pytest.raises(LockstepError, match=r"gone: no such file or folder; see source\.paths"):
        verified("gone", None, tmp_path)
    with pytest.raises(LockstepError, match=r"is not what source\.sha256 says"):
        verified("bare", "0" * 64, tmp_path)


def test_the_rules_of_a_new_workload_are_those_of_params_yaml() -> None:
    from lockstep.config.load import load_params

    root = Path(__file__).parent.parent
    committed = dataclasses.asdict(load_params("faces", root / "params.yaml").source)
    written = dataclasses.asdict(RULES)
    assert {name: committed[name] for name in FACES} == {name: written[name] for name in FACES}
