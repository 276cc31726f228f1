"""`card.md`: Markdown with the front matter that the Hugging Face hub reads of data sets.

What only a person can say stands in `card` of params.yaml, so that no run overwrites it. The same
input gives the same bytes: there is no time of any run in it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import yaml
from PIL import Image

from lockstep.config.schema import Params
from lockstep.core import paths
from lockstep.data import shards
from lockstep.sources import outcomes
from lockstep.sources.cards.origins import origin
from lockstep.sources.cards.risks import removal, risks
from lockstep.sources.cards.subject import Subject, plain, table
from lockstep.sources.outcomes import Count
from lockstep.sources.registry import Collected, Found

_SIZES = {
    1_000: "n<1K",
    10_000: "1K<n<10K",
    100_000: "10K<n<100K",
    1_000_000: "100K<n<1M",
    10_000_000: "1M<n<10M",
}
_TASKS = {
    "none": ["unconditional-image-generation"],
    "classes": ["unconditional-image-generation", "image-classification"],
    "labels": ["unconditional-image-generation", "image-classification"],
    "prompts": ["text-to-image"],
}
_FIELDS = {
    "license": "licence",
    "origin": "where the images come from, and from when",
    "contact": "whom to write to",
    "rights": "whose pictures these are, and by what right they are used",
    "consent": "whether those in them agreed",
}
_LEFT_OUT = "equal files are one image, and those named in `exclude.txt` are out."
_ROWS = 100
"""Of a table of classes, at most."""


def write(params: Params, folder: Path, found: Found, collected: Collected) -> None:
    """Write the card of the set in `folder`, which tells `found` and is read as `collected`.

    Raises `LockstepError` if what the download or the decisions left is damaged.
    """
    text = "".join(f"{part}\n" for part in _parts(params, folder, found, collected))
    (folder / paths.card(params.workload).name).write_text(text, "utf-8")


def _parts(params: Params, folder: Path, found: Found, collected: Collected) -> Iterator[str]:
    chooses = (folder / outcomes.DECISIONS).exists()
    subject = Subject(params.source.type, found.params, params.card, chooses)
    files = list(dict.fromkeys(collected.images))  # an image with several prompts is there often
    place = files[0].parent.relative_to(folder).as_posix()
    tars = shards.tars_of(files[0].parent)
    endings = sorted({path.suffix for path in tars or files})
    data_files = [f"{place}/*{ending}" for ending in endings]
    where = f"`{place}/`" + (f", in tars of {shards.EACH:,}" if tars else "")
    yield f"---\n{_front_matter(params, len(files), data_files)}---\n"
    yield f"# {plain(params.workload)}\n"
    yield f"{len(files):,} images in {where}: {_forms(files)}. {_said(params, collected)}"
    yield (
        "Lockstep collected them; `provenance.json` has every setting that decided it.\n\n"
        "## To be filled in by whoever publishes this\n\n"
        "`card` in `params.yaml` has the answers; no run overwrites them.\n"
    )
    fields = [
        [meaning, _as_cell(getattr(params.card, name)) or f"**to be filled in** (`card.{name}`)"]
        for name, meaning in _FIELDS.items()
    ]
    yield table(("what", "answer"), fields) + "\n"
    yield f"## Where they come from\n\n{origin(subject)}\n"
    yield "## How many\n"
    yield _counts(subject, params, folder, collected, len(files))
    yield f"## What may be in it that should not\n\n{risks(subject)}\n"
    yield f"## How somebody is taken out\n\n{removal(subject)}"


def _front_matter(params: Params, count: int, data_files: list[str]) -> str:
    sizes = (name for above, name in _SIZES.items() if count < above)
    about = {
        "pretty_name": params.workload,
        "license": params.card.license or "unknown",
        "task_categories": _TASKS[params.condition],
        "size_categories": [next(sizes, "n>10M")],
        "configs": [{"config_name": "default", "data_files": data_files}],
    }
    return str(yaml.safe_dump(about, sort_keys=False, allow_unicode=True))


def _forms(files: list[Path]) -> str:
    """Sizes, modes and formats, the most frequent first."""
    forms: Counter[str] = Counter()
    for data in shards.contents(files):
        with Image.open(BytesIO(data)) as image:  # decodes no pixel
            forms[f"{image.width} x {image.height} pixels, {image.mode}, {image.format}"] += 1
    ordered = sorted(forms.items(), key=lambda item: (-item[1], item[0]))
    if len(ordered) == 1:
        return ordered[0][0]
    return "; ".join(f"{count:,} of {form}" for form, count in ordered)


def _said(params: Params, collected: Collected) -> str:
    """What is said of the images, and what belongs together."""
    said = {
        "none": "Nothing is said of them.",
        "classes": f"Each is of one of {len(collected.names)} classes (`classes.json`).",
        "labels": f"It is said which of {len(collected.names)} objects each shows (`train.json`).",
        "prompts": f"They have {len(collected.images):,} sentences (`train_info.json`).",
    }[params.condition]
    groups = len(set(collected.groups))
    if groups == len(set(collected.images)):
        return said
    return (
        f"{said} They come from {groups:,} pictures or scenes; a split keeps those of one together."
    )


def _counts(subject: Subject, params: Params, folder: Path, collected: Collected, kept: int) -> str:
    parts = []
    if subject.is_downloaded and (fetched := outcomes.fetched(paths.downloaded(params.workload))):
        total = sum(outcome.count for outcome in fetched)
        parts.append(
            f"Of {total:,} addresses of images that were asked for:\n\n"
            + table(("outcome", "addresses"), [(plain(o.name), f"{o.count:,}") for o in fetched])
        )
    decided = outcomes.decided(folder, subject.kind)
    if decided:
        what = outcomes.DECIDED.get(subject.kind, "images")
        total = sum(decision.count for decision in decided)
        rows = [(d.name, f"{d.count:,}", _meaning(d, subject)) for d in decided]
        parts.append(
            f"Of {total:,} {what}, which were kept, and why the others were not:\n\n"
            + table(("decision", what, "meaning"), rows)
        )
    else:
        parts.append(f"{kept:,}: {_LEFT_OUT if subject.excludes else 'none was left out.'}")
    if collected.names:
        totals = collected.conditions.sum(axis=0)
        named = [
            (plain(name), f"{int(n):,}") for name, n in zip(collected.names, totals, strict=True)
        ]
        head = "class" if params.condition == "classes" else "object"
        parts.append(table((head, "images"), named[:_ROWS]))
        if len(named) > _ROWS:
            parts.append(f"And {len(named) - _ROWS:,} more.")
    return "\n\n".join(parts) + "\n"


def _meaning(decision: Count, subject: Subject) -> str:
    """The words, with the values of the settings that they name."""

    def with_value(setting: re.Match[str]) -> str:
        value = subject.values.get(setting[0])
        return f"`{setting[0]}`" + ("" if value is None else f" = {plain(value)}")

    if decision.name == outcomes.KEPT:
        return "in this set"
    return re.sub(r"source\.\w+", with_value, decision.meaning)


def _as_cell(text: str | None) -> str:
    """A person's Markdown in a cell."""
    return " ".join((text or "").split()).replace("|", "\\|")
