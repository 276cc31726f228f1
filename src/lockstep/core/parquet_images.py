"""Images in the rows of Parquet files, as data sets on the Hugging Face hub have them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import IO, Any

from lockstep.core.formats import is_hidden

MAGIC = b"PAR1"
ENDING = ".parquet"
_IMAGES = ("image", "img", "jpg", "jpeg", "png", "image_bytes", "bytes")
_LABELS = ("label", "labels", "class")
_TEXTS = ("text", "caption", "text_prompt", "prompt", "sentence")
_AT_ONCE = 8  # rows: an image may be large
_BUFFER = 2**20
# What columns may unpack to: images hardly shrink at all.
_RATIO, _SLACK = 200, 64 * 2**20

File = Path | IO[bytes]


@dataclass(frozen=True)
class Layout:
    """What stands where: the column of the images (of their bytes), of classes and of sentences.

    `names` are those of the classes, where the column has their numbers; `size` is the file's.
    """

    image: str
    label: str | None
    names: Sequence[str]
    text: str | None
    count: int
    size: int


@dataclass(frozen=True)
class Row:
    """A row: the bytes of its image (None if there are none), its class, and its sentences."""

    number: int
    image: bytes | None
    label: str | None
    sentences: tuple[str, ...]


def is_named_so(name: PurePath) -> bool:
    """Whether a file is a Parquet file by its name, and not hidden."""
    return name.suffix.lower() == ENDING and not is_hidden(name)


def files(place: Path) -> list[Path]:
    """The Parquet files in a folder, at any depth and without links; or the one at `place`."""
    if not place.is_dir():
        return [place] if place.suffix.lower() == ENDING and place.is_file() else []
    found = (Path(folder, name) for folder, _, names in os.walk(place) for name in names)
    own = (path for path in found if is_named_so(path.relative_to(place)))
    return sorted(path for path in own if path.is_file() and not path.is_symlink())


def layout(file: File) -> Layout | None:
    """What a Parquet file has; None if there is no image in it.

    Raises `ValueError`, or another error of pyarrow's, if it is damaged or unpacks to too much.
    """
    with _opened(file) as opened:
        columns = {field.name: field.type for field in opened.schema_arrow}
        image = _column_of_images(columns)
        if image is None:
            return None
        # What stands of each column is not looked at: if that is damaged, pyarrow ends the process.
        about = opened.metadata
        groups = [about.row_group(number) for number in range(about.num_row_groups)]
        size, count = _size(file), sum(group.num_rows for group in groups)
        if sum(group.total_byte_size for group in groups) > _SLACK + _RATIO * size or count > size:
            raise ValueError(f"unpacks to more than {_RATIO} times its size")
        label = _first(columns, _LABELS, lambda kind: _is_text(kind) or _is_whole(kind))
        names: list[str] = []
        if label is not None and _is_whole(columns[label]):
            names = _names_of(opened.schema_arrow.metadata, label)
        text = _first(columns, _TEXTS, lambda kind: _is_text(_of_list(kind)))
        return Layout(image, label, names, text, count, size)


def rows(file: File, found: Layout, *, images: bool = True) -> Iterator[Row]:
    """The rows in order; without `images` only what is said of them, which is fast.

    Raises as `layout`, and `ValueError` if two of its classes have the same name here.
    """
    wanted = [name for name in (found.label, found.text) if name is not None]
    if images:
        wanted.append(found.image)
    if not wanted:
        yield from (Row(number, None, None, ()) for number in range(found.count))
        return
    with _opened(file) as opened:
        number = 0
        written: dict[str | None, Any] = {}
        for batch in opened.iter_batches(_AT_ONCE if images else 8 * _AT_ONCE, columns=wanted):
            if batch.nbytes > _SLACK + _RATIO * found.size:
                raise ValueError(f"unpacks to more than {_RATIO} times its size")
            columns = {name: batch.column(name) for name in batch.schema.names}
            for place in range(batch.num_rows):
                # One at a time: a value may be there once and stand in every row.
                record = {name: column[place].as_py() for name, column in columns.items()}
                image = _value(record, found.image) if images else None
                label = None if found.label is None else record[found.label]
                text = None if found.text is None else record[found.text]
                name = _name(label, found.names)
                if name is not None and written.setdefault(name, label) != label:
                    raise ValueError(f"the classes {written[name]!r} and {label!r} are both {name}")
                yield Row(number, image, name, _sentences(text))
                number += 1


@contextmanager
def _opened(file: File) -> Iterator[Any]:
    # Here: it comes with MLflow, and takes long to import.
    from pyarrow import parquet

    # In parts: pyarrow would read a group of rows whole, and that may be all of the file.
    with parquet.ParquetFile(file, pre_buffer=False, buffer_size=_BUFFER) as opened:
        yield opened


def _size(file: File) -> int:
    if isinstance(file, Path):
        return file.stat().st_size
    return file.seek(0, os.SEEK_END)


def _first(columns: dict[str, Any], usual: Sequence[str], fits: Any) -> str | None:
    """The first column that is called so, in any case, and fits."""
    for name in usual:
        for column, kind in columns.items():
            if column.lower() == name and fits(kind):
                return column
    return None


def _column_of_images(columns: dict[str, Any]) -> str | None:
    """The bytes in Hugging Face's structs, or a column of bytes that is called like an image."""
    named = _first(columns, _IMAGES, lambda kind: _is_bytes(kind) or _has_bytes(kind))
    if named is not None:
        return f"{named}.bytes" if _has_bytes(columns[named]) else named
    others = [name for name, kind in columns.items() if _has_bytes(kind) and name != "audio"]
    return f"{others[0]}.bytes" if len(others) == 1 else None


def _has_bytes(kind: Any) -> bool:
    from pyarrow import types

    inner = {part.name: part.type for part in kind} if types.is_struct(kind) else {}
    return "bytes" in inner and _is_bytes(inner["bytes"])


def _is_bytes(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_binary(kind) or types.is_large_binary(kind) or types.is_binary_view(kind))


def _is_text(kind: Any) -> bool:
    from pyarrow import types

    if types.is_dictionary(kind):
        kind = kind.value_type
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def _is_whole(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_integer(kind))


def _of_list(kind: Any) -> Any:
    from pyarrow import types

    return kind.value_type if types.is_list(kind) or types.is_large_list(kind) else kind


def _names_of(metadata: dict[bytes, bytes] | None, column: str) -> list[str]:
    """Those that `datasets` notes beside the schema; none if it has not."""
    try:
        said = json.loads((metadata or {}).get(b"huggingface", b"{}"))
        return [str(name) for name in said["info"]["features"][column]["names"]]
    except (ValueError, KeyError, TypeError):
        return []


def _value(record: dict[str, Any], column: str) -> bytes | None:
    if column in record:
        return record[column] or None
    found = record[column.removesuffix(".bytes")]
    return None if found is None else found["bytes"] or None


def _name(label: Any, names: Sequence[str]) -> str | None:
    """The class; None if there is none, which `datasets` writes as -1."""
    if label is None or (isinstance(label, int) and label < 0):
        return None
    known = isinstance(label, int) and label < len(names)
    return _part(names[label] if known else str(label)) or None


def _part(name: str) -> str:
    """A name as one part of a path."""
    return name.replace("/", "_").strip(" .")


def _sentences(value: Any) -> tuple[str, ...]:
    given = value if isinstance(value, list) else [value]
    return tuple(one for one in given if isinstance(one, str) and one.split())
