"""Images in the rows of Parquet files, as data sets on the Hugging Face hub have them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from lockstep.core.formats import is_hidden

MAGIC = b"PAR1"
ENDING = ".parquet"
_IMAGES = ("image", "img", "jpg", "jpeg", "png", "image_bytes", "bytes")
_LABELS = ("label", "class")
_TEXTS = ("text", "caption", "text_prompt", "prompt", "sentence")
_AT_ONCE = 32
# What columns may unpack to: images hardly shrink at all.
_RATIO, _SLACK = 200, 64 * 2**20

File = Path | IO[bytes]


@dataclass(frozen=True)
class Layout:
    """What stands where: the column of the images (of their bytes), of classes and of sentences.

    `names` are those of the classes, where the column has their numbers.
    """

    image: str
    label: str | None
    names: Sequence[str]
    text: str | None
    count: int


@dataclass(frozen=True)
class Row:
    """A row: the bytes of its image (None if there are none), its class, and its sentences."""

    number: int
    image: bytes | None
    label: str | None
    sentences: tuple[str, ...]


def files(place: Path) -> list[Path]:
    """The Parquet files in a folder, at any depth; or the one at `place`. Hidden ones are none."""
    found = place.rglob("*") if place.is_dir() else (place,)
    inside = (path for path in found if not is_hidden(path.relative_to(place)))
    return sorted(path for path in inside if path.suffix.lower() == ENDING and path.is_file())


def layout(file: File) -> Layout | None:
    """What a Parquet file has; None if there is no image in it.

    Raises `ValueError`, or another error of pyarrow's, if it is damaged or unpacks to too much.
    """
    parquet = _parquet()
    with parquet.ParquetFile(file) as opened:
        schema, about = opened.schema_arrow, opened.metadata
        image = _column_of_images(schema)
        if image is None:
            return None
        for group in range(about.num_row_groups):
            for number in range(about.row_group(group).num_columns):
                column = about.row_group(group).column(number)
                if column.total_uncompressed_size > _SLACK + _RATIO * column.total_compressed_size:
                    raise ValueError(f"unpacks to more than {_RATIO} times its size")
        label, names = _labels(schema)
        return Layout(image, label, names, _texts(schema), about.num_rows)


def rows(file: File, found: Layout, *, images: bool = True) -> Iterator[Row]:
    """The rows in order; without `images` only what is said of them, which is fast. As `layout`."""
    wanted = [name for name in (found.label, found.text) if name is not None]
    if images:
        wanted.append(found.image)
    with _parquet().ParquetFile(file) as opened:
        if not wanted:
            yield from (Row(number, None, None, ()) for number in range(found.count))
            return
        number = 0
        for batch in opened.iter_batches(_AT_ONCE if images else 65536, columns=wanted):
            for record in batch.to_pylist():
                image = _value(record, found.image) if images else None
                label = None if found.label is None else record[found.label]
                text = None if found.text is None else record[found.text]
                yield Row(number, image, _name(label, found.names), _sentences(text))
                number += 1


def _column_of_images(schema: Any) -> str | None:
    """`image.bytes` of Hugging Face's structs, or a column of bytes that is called like one."""
    from pyarrow import types

    for field in schema:
        if types.is_struct(field.type):
            inner = {part.name: part.type for part in field.type}
            if "bytes" in inner and _is_bytes(inner["bytes"]):
                return f"{field.name}.bytes"
    for name in _IMAGES:
        if name in schema.names and _is_bytes(schema.field(name).type):
            return name
    return None


def _is_bytes(kind: Any) -> bool:
    from pyarrow import types

    return bool(types.is_binary(kind) or types.is_large_binary(kind))


def _labels(schema: Any) -> tuple[str | None, list[str]]:
    from pyarrow import types

    for name in _LABELS:
        if name not in schema.names:
            continue
        kind = schema.field(name).type
        if types.is_string(kind) or types.is_large_string(kind):
            return name, []
        if types.is_integer(kind):
            return name, _names_of(schema, name)
    return None, []


def _names_of(schema: Any, column: str) -> list[str]:
    """Those that `datasets` notes beside the schema; none if it has not."""
    try:
        said = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        names = said["info"]["features"][column]["names"]
        return [str(name) for name in names]
    except (ValueError, KeyError, TypeError):
        return []


def _texts(schema: Any) -> str | None:
    from pyarrow import types

    def is_text(kind: Any) -> bool:
        if types.is_list(kind) or types.is_large_list(kind):
            kind = kind.value_type
        return bool(types.is_string(kind) or types.is_large_string(kind))

    return next((n for n in _TEXTS if n in schema.names and is_text(schema.field(n).type)), None)


def _value(record: dict[str, Any], column: str) -> bytes | None:
    outer, _, inner = column.partition(".")
    found = record[outer]
    if inner and found is not None:
        found = found[inner]
    return found or None


def _name(label: Any, names: Sequence[str]) -> str | None:
    """The class as one part of a path."""
    if label is None or (isinstance(label, int) and label < 0):  # as `datasets` says "none"
        return None
    known = isinstance(label, int) and label < len(names)
    name = names[label] if known else str(label)
    return name.replace("/", "_").strip(" .") or None


def _sentences(value: Any) -> tuple[str, ...]:
    given = value if isinstance(value, list) else [value]
    return tuple(one for one in given if isinstance(one, str) and one.split())


def _parquet() -> Any:
    # Here: it comes with MLflow, and takes long to import.
    from pyarrow import parquet

    return parquet
