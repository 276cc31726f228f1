"""The forms in which a folder may say what its images show.

* `train_info.json`: see `lockstep.data.captions`;
* `metadata.jsonl`, `.csv` or `.parquet` with the columns `file_name` and `text`, as Hugging Face's
  `imagefolder` and diffusers' training scripts read it;
* a `.txt` beside each image, of the same name, with a sentence a line, as img2dataset writes it;
* Parquet files with images and sentences in their rows, or one such file in place of the folder, as
  data sets on the Hugging Face hub are.

`test.json` has the prompts that are asked for. Without it, which only the first wants, they are
some of those of the images.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from lockstep.config.captioned import FILE_NAME, METADATA, metadata_of, text_column
from lockstep.core import parquet_images, tables
from lockstep.core.errors import LockstepError
from lockstep.core.formats import ENDINGS, is_hidden
from lockstep.data import captions
from lockstep.data.labels import some

_ASKED = 32
"""How many prompts are asked for where nobody says which."""


@dataclass(frozen=True)
class Captioned:
    """Images with sentences: each image's file or bytes, and its prompts by what it is called here.

    `images` and `train` have the same order. `test` has the prompts that are asked for by their
    ids. `place` and `by` are for messages: the folder that has the images, and what names them.
    Where they `may_lack`, nobody can mend or remove a single one.
    """

    images: Iterable[tuple[str, Path | bytes]]
    train: Mapping[str, list[str]]
    test: Mapping[str, str]
    place: Path
    by: str
    may_lack: bool = False


def read(folder: Path) -> Captioned:
    """What a folder says of its images. Raises `LockstepError` that names the wrong row or file."""
    if (folder / captions.TRAIN).exists():
        train = captions.read_train(folder / captions.TRAIN)
        test = captions.read_test(folder / captions.TEST)
        place = _images_folder(folder, train)
        images = ((name, place / name) for name in train)
        return Captioned(images, train, test, place, captions.TRAIN)
    if (table := metadata_of(folder)) is not None:
        return _named(folder, _of_metadata(table), table.name)
    if embedded := _embedded(folder):
        if others := _images_in(folder):
            raise LockstepError(
                f"{others[0]}: lies beside Parquet files with sentences; move one of the two"
            )
        return _of_parquet(folder, embedded)
    if any(folder.rglob("*.txt")):
        return _named(folder, _of_texts(folder), "its texts")
    raise LockstepError(
        f"{folder / captions.TRAIN}: missing; a folder of captions has {captions.TRAIN} and "
        f"{captions.TEST}, or {METADATA[0]}, or a .txt beside each image"
    )


Described = tuple[str, PurePosixPath, list[str]]
"""Where it stands, an image's path in the folder, and its sentences."""


def _plain_name(path: Path, folder: Path) -> str:
    """A file's path in a folder, as a part of a name; or its name, if it stands for the folder."""
    inside = path.relative_to(folder) if path != folder else Path(path.name)
    return "_".join(inside.with_suffix("").parts)


def _named(folder: Path, rows: Iterator[Described], by: str) -> Captioned:
    """Images in any depth: their folders become a part of their names."""
    files: dict[str, Path] = {}
    train: dict[str, list[str]] = {}
    taken: dict[str, PurePosixPath] = {}
    for where, path, sentences in rows:
        name = captions.checked_name(where, FILE_NAME, "_".join(path.parts))
        if (other := taken.setdefault(captions.bare(name), path)) != path:
            raise LockstepError(
                f"{where}: {str(other)!r} and {str(path)!r} would both become "
                f"{captions.bare(name)}.png; rename one"
            )
        files[name] = folder / path
        known = train.setdefault(name, [])
        known += [sentence for sentence in sentences if sentence not in known]
    if not train:
        raise LockstepError(f"{folder}: {by} says nothing of any image; add rows")
    return Captioned(files.items(), train, _asked_for(folder, train), folder, by)


def _asked_for(folder: Path, train: Mapping[str, Sequence[str]]) -> dict[str, str]:
    asked = folder / captions.TEST
    return captions.read_test(asked) if asked.exists() else some_of(train)


def _embedded(folder: Path) -> dict[Path, parquet_images.Layout]:
    """The Parquet files with images and sentences in them."""
    found = {}
    for path in parquet_images.files(folder):
        with tables.damage_named(path):
            layout = parquet_images.layout(path)
        if layout is not None and layout.text is not None:
            found[path] = layout
    return found


def _of_parquet(folder: Path, embedded: Mapping[Path, parquet_images.Layout]) -> Captioned:
    """The rows that have both; read twice, so that the images need not be kept."""

    def rows(images: bool) -> Iterator[tuple[str, parquet_images.Row]]:
        for path, layout in embedded.items():
            with tables.damage_named(path):
                for row in parquet_images.rows(path, layout, images=images):
                    if row.sentences:
                        yield f"{_plain_name(path, folder)}_{row.number:08}.png", row

    train: dict[str, list[str]] = {}
    for name, row in rows(False):
        captions.checked_name(str(folder), "file", name)
        if name in train:
            raise LockstepError(f"{folder}: two of its files would both give {name}; rename one")
        said = (captions.checked_prompt(name, "text", one) for one in row.sentences)
        train[name] = list(dict.fromkeys(said))
    if not train:
        raise LockstepError(f"{folder}: no row has a sentence; name another data set")
    images = ((name, row.image or b"") for name, row in rows(True))
    # Beside a single file there may be anybody's test.json, and its hash is of the file alone.
    test = _asked_for(folder, train) if folder.is_dir() else some_of(train)
    return Captioned(images, train, test, folder, "its rows", may_lack=True)


def some_of(train: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Prompts of the images: the same ones whatever the order of the files."""
    prompts = {prompt for each in train.values() for prompt in each}
    drawn = sorted(prompts, key=lambda prompt: hashlib.sha256(prompt.encode()).digest())
    return {str(number): prompt for number, prompt in enumerate(drawn[:_ASKED])}


def _of_metadata(path: Path) -> Iterator[Described]:
    names = tables.columns(path)
    text = text_column(names)
    if FILE_NAME not in names or text is None:
        listed = ", ".join(map(repr, names)) or "none"
        raise LockstepError(
            f"{path}: has the columns {listed}; it needs {FILE_NAME!r}, and 'text' for the sentence"
        )
    for place, row in tables.rows(path, [FILE_NAME, text]):
        where = f"{path.parent / place}"
        given = row[text]
        sentences = [
            captions.checked_prompt(where, text, one)
            for one in (given if isinstance(given, list) and given else [given])
        ]
        yield where, _path(where, row[FILE_NAME]), sentences


def _path(where: str, given: Any) -> PurePosixPath:
    """A path below the folder."""
    if not isinstance(given, str) or not given:
        raise LockstepError(f"{where}: has no {FILE_NAME}; name the image")
    path = PurePosixPath(given)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise LockstepError(
            f"{where}: {FILE_NAME}: {given[:200]!r} leads out of the folder; give a path in it"
        )
    return path


def _images_in(folder: Path) -> list[Path]:
    """The files that are images by their names, at any depth, but hidden ones."""
    found = (path for path in folder.rglob("*") if path.suffix.lower() in ENDINGS)
    return sorted(path for path in found if not is_hidden(path.relative_to(folder)))


def _of_texts(folder: Path) -> Iterator[Described]:
    images = _images_in(folder)
    without = [path for path in images if not path.with_suffix(".txt").is_file()]
    if without:
        names = some([path.relative_to(folder).as_posix() for path in without])
        raise LockstepError(
            f"{folder}: {len(without)} of {len(images)} images have no .txt beside them: {names}; "
            "write one, or remove them"
        )
    for path in images:
        text = path.with_suffix(".txt")
        lines = [line for _, line in tables.lines(text)]
        if not any(map(str.isalpha, "".join(lines))):
            raise LockstepError(f"{text}: has no word; write a sentence, or move it elsewhere")
        sentences = [captions.checked_prompt(str(text), "text", line) for line in lines]
        yield str(text), PurePosixPath(path.relative_to(folder).as_posix()), sentences


def _images_folder(folder: Path, train: Mapping[str, Any]) -> Path:
    inner = sorted(path for path in folder.iterdir() if path.is_dir())
    has_any = [path for path in (folder, *inner) if any((path / name).is_file() for name in train)]
    if not has_any:
        raise LockstepError(
            f"{folder}: none of the images of {captions.TRAIN} is in it, nor in a folder in it; "
            "put them there"
        )
    if has_any[0] != folder and len(has_any) > 1:
        names = some([path.name for path in has_any])
        raise LockstepError(
            f"{folder}: images of {captions.TRAIN} are in several folders ({names}); leave one"
        )
    return has_any[0]
