"""Caption files: which sentences go with an image, and which prompts are to be generated.

`train_info.json` gives images with their prompts, as a list of rows or as a mapping; `test.json`
gives prompts with the ids by which the images drawn for them are named:

    [{"file_name": "a.png", "text_prompt": "a red cube"}, ...]
    {"a.png": {"text_prompt": "a red cube"}, ...}  or  {"a.png": "a red cube", ...}

    ["a red cube", ...]                            (ids: 0, 1, ...)
    [{"id": "x", "text_prompt": "a red cube"}, ...]
    {"x": {"text_prompt": "a red cube"}, ...}      or  {"x": "a red cube", ...}

An image of `train_info.json` may have several prompts: in several rows, or as a list in the
place of one. A row of `test.json` may have `file_name` instead of `id`. An id counts without the
ending of an image.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lockstep.config.captioned import TRAIN as TRAIN
from lockstep.core.errors import LockstepError
from lockstep.core.formats import ENDINGS
from lockstep.data.annotations import ANNOTATIONS, Arrays, as_arrays, read_annotations
from lockstep.data.labels import some

TEST = "test.json"
IMAGES = "images"
"""The folder of the images, `<bare name>.png` each."""

_PROMPT = "text_prompt"
_LONGEST = 200  # bytes of a name; file systems take 255, some of which temporary names need


def read_train(path: Path) -> dict[str, list[str]]:
    """`train_info.json` -> the prompts of each file name, in the order of the file.

    Raises `LockstepError` if it is missing or wrong; the message names the row.
    """
    found: dict[str, list[str]] = {}
    for where, key, entry in _entries(path, ("file_name",)):
        name = checked_name(where, "file_name", key if key is not None else entry.get("file_name"))
        given = entry[_PROMPT]
        prompts = [
            checked_prompt(where, _PROMPT, one)
            for one in (given if isinstance(given, list) else [given])
        ]
        if not prompts:
            raise LockstepError(f"{where}: {_PROMPT}: an empty list; give a sentence")
        for prompt in prompts:
            if prompt in found.setdefault(name, []):
                raise LockstepError(f"{where}: {name!r} has {prompt!r} already; remove one")
            found[name].append(prompt)
    twins: dict[str, str] = {}
    for name in found:
        if (other := twins.setdefault(bare(name), name)) != name:
            raise LockstepError(
                f"{path}: {other!r} and {name!r} would both become {bare(name)}.png; rename one"
            )
    return found


def read_test(path: Path) -> dict[str, str]:
    """`test.json` -> the prompt of each id, in the order of the file.

    Raises `LockstepError` if it is missing or wrong; the message names the row.
    """
    found: dict[str, str] = {}
    for number, (where, key, entry) in enumerate(_entries(path, ("id", "file_name"))):
        if "id" in entry and "file_name" in entry:
            raise LockstepError(f"{where}: has both id and file_name; leave one")
        field = "file_name" if "file_name" in entry else "id"
        given = key if key is not None else entry.get(field, number)
        if isinstance(given, int) and not isinstance(given, bool):
            given = str(given)
        name = bare(checked_name(where, field, given))
        if name in found:
            raise LockstepError(f"{where}: a second prompt of the id {name!r}; give it another id")
        found[name] = checked_prompt(where, _PROMPT, entry[_PROMPT])
    return found


def write(folder: Path, train: Mapping[str, list[str]], test: Mapping[str, str]) -> None:
    """Write both files, `train_info.json` as a mapping and `test.json` as rows with ids."""
    images = {
        name: {_PROMPT: prompts[0] if len(prompts) == 1 else prompts}
        for name, prompts in train.items()
    }
    rows = [{"id": name, _PROMPT: prompt} for name, prompt in test.items()]
    for file, value in ((TRAIN, images), (TEST, rows)):
        (folder / file).write_text(json.dumps(value, ensure_ascii=False) + "\n", "utf-8")


def bare(name: str) -> str:
    """A file name or an id without the ending of an image."""
    stem, dot, ending = name.rpartition(".")
    return stem if stem and f"{dot}{ending}".lower() in ENDINGS else name


def image_of(name: str) -> str:
    """The file of the image that is generated for a test prompt of this id."""
    return f"{IMAGES}/{name}.png"


def pairs(train: Mapping[str, Iterable[str]]) -> list[tuple[str, str]]:
    """(file name, prompt) in the order of a packed data set: an image once for each prompt."""
    return [(name, prompt) for name in sorted(train) for prompt in train[name]]


def _entries(path: Path, names: Iterable[str]) -> Iterator[tuple[str, Any, dict[str, Any]]]:
    """(file and row for messages, the row's key in a mapping, what the row says).

    The rows of a list may have `names` beside the prompt; a bare prompt stands for a row of
    nothing else.
    """
    document = _read(path)
    if not isinstance(document, list | dict) or not document:
        raise LockstepError(f"{path}: must be a list or a mapping of at least one {_PROMPT}")
    is_mapping = isinstance(document, dict)
    known = (_PROMPT,) if is_mapping else (*names, _PROMPT)
    for key, value in document.items() if isinstance(document, dict) else enumerate(document):
        where = f"{path}: [{json.dumps(key, ensure_ascii=False)}]"
        entry = value if isinstance(value, dict) else {_PROMPT: value}
        if unknown := sorted(set(entry) - set(known)):
            raise LockstepError(
                f"{where}: unknown key {unknown[0]!r}; a row has {', '.join(known)}; remove it or "
                "mend its name"
            )
        if _PROMPT not in entry:
            raise LockstepError(f"{where}: has no {_PROMPT}; give it a sentence")
        yield where, key if is_mapping else None, entry


def _read(path: Path) -> Any:
    def once(items: list[tuple[str, Any]]) -> dict[str, Any]:
        """A JSON object; of a key that is there twice `json` would drop one without a word."""
        found: dict[str, Any] = {}
        for key, value in items:
            if key in found:
                raise LockstepError(f"{path}: the key {key!r} is there twice; remove one")
            found[key] = value
        return found

    try:
        return json.loads(path.read_text("utf-8-sig"), object_pairs_hook=once)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise LockstepError(
            f"{path}: missing; a folder of captions has {TRAIN}, {TEST} and images"
        ) from None
    except (ValueError, RecursionError) as error:
        raise LockstepError(f"{path}: not valid JSON: {error}") from None


def checked_name(where: str, field: str, name: Any) -> str:
    """The name of a file without folders. Raises `LockstepError` if it is none that can be."""
    if name is None:
        raise LockstepError(f"{where}: has no {field}; name the image")
    if not isinstance(name, str):
        raise LockstepError(f"{where}: {field}: must be text, not {name!r}")
    # Printable: no zero bytes or line ends in a file's name, no halves of a character.
    ok = name.isprintable() and not name.startswith(".") and not {"/", "\\"} & set(name)
    if not name or not ok or len(name.encode()) > _LONGEST:
        raise LockstepError(
            f"{where}: {field}: {name[:_LONGEST]!r} is no bare file name; give one without folders"
        )
    return name


def checked_prompt(where: str, field: str, prompt: Any) -> str:
    """A sentence, its white space single spaces. Raises `LockstepError` if it is none."""
    if not isinstance(prompt, str):
        raise LockstepError(f"{where}: {field}: must be text, not {type(prompt).__name__}")
    words = " ".join(prompt.split())
    if not words:
        raise LockstepError(f"{where}: {field}: is empty; give a sentence")
    if words.encode(errors="ignore").decode() != words:
        raise LockstepError(f"{where}: {field}: {words!a} has half a character; mend it")
    return words


def distinct_prompts(folder: Path) -> list[str]:
    """The prompts of the training images, each once, in alphabetical order.

    The empty one comes before them: number 0 is no condition. Raises `LockstepError` if their file
    is missing or wrong.
    """
    return ["", *sorted({prompt for _, prompt in pairs(read_train(folder / TRAIN))})]


def shown_by_rows(folder: Path) -> Arrays | None:
    """What the image of each row shows; None if unknown.

    Raises `LockstepError` if a file is missing or wrong, or nothing is known of some caption.
    """
    found = read_annotations(folder)
    if found is None:
        return None
    train = read_train(folder / TRAIN)
    test = read_test(folder / TEST)
    unknown = sorted({*train} - {*found.train}) + sorted({*test} - {*found.test})
    if unknown:
        raise LockstepError(
            f"{folder / ANNOTATIONS}: nothing on {some(unknown)}; mend it, or remove the file: it "
            "is optional"
        )
    return as_arrays([found.train[name] for name, _ in pairs(train)])
