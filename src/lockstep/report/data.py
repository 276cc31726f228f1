"""Of what the data set consists, and what became of images and faces on the way to it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lockstep.config.schema import Params
from lockstep.config.sources import Faces, Merged
from lockstep.core import paths
from lockstep.core.files import csv_rows, damage_named, read_json
from lockstep.core.provenance import read_provenance
from lockstep.report import settings
from lockstep.report.figures import Figure
from lockstep.report.settings import Setting
from lockstep.sources.listing import IMAGES, MANIFEST, read_lines, read_list

_SPLITS = {
    "train": "trains the generator",
    "validation": "held out: the validation loss",
    "evaluator_train": "trains the evaluator",
    "evaluator_validation": "held out: the evaluator's own accuracy",
}
# What a stage decides about, and why it leaves one out.
_DECIDED = {"ptt": "faces", "photos": "faces", "folder": "files"}
_OF_FILES = {
    "refused": "a link, a bomb, a name that leads out of its archive, or too large",
    "broken": "no image, or not to its end",
}
_OF_FACES = {
    "small": "narrower than source.min_box",
    "tilted": "the eyes' line is steeper than source.max_slope",
    "turned": "the nose is not between the eyes (source.nose)",
    "eyes": "the eyes are too near or too far apart (source.eye_ratio)",
    "cut": "too much lies outside the image (source.max_outside)",
    "blurred": "less sharp than source.min_sharpness",
    "covered": "the nose has another colour than the skin above it (source.max_cover)",
    "tinted": "the face's hue is not skin's (source.max_tint)",
    "unsure": "the detector is less sure than source.min_score",
    "duplicate": "another copy of a face that was kept",
    "faceless": "an image in which no face was found",
    "excluded": "named in exclude.txt",
}
_DECISIONS = {
    "ptt": _OF_FACES,
    "photos": {**_OF_FACES, **_OF_FILES, "copy": "the same bytes as a file before it"},
    "folder": {
        **_OF_FILES,
        "small": "a side shorter than source.min_side",
        "aspect": "longer or higher than source.max_aspect allows",
        "blank": "less contrast than source.min_contrast",
        "copy": "the same bytes as a file that was kept",
        "duplicate": "looks like an image that was kept",
        "excluded": "named in exclude.txt",
    },
}


@dataclass(frozen=True)
class Count:
    """How many of something, and their share of all."""

    name: str
    meaning: str
    count: int
    share: float


@dataclass(frozen=True)
class Data:
    """Of what the data set consists, and what decided it."""

    images: int
    splits: tuple[Count, ...]
    digest: str
    settings: tuple[Setting, ...]


@dataclass(frozen=True)
class Fetched:
    """What a crawl found, and what became of the images; 0 or empty where that is missing."""

    articles: int
    named: int
    outcomes: tuple[Count, ...]


@dataclass(frozen=True)
class Kept:
    """Which faces or files (`what`) were kept, and why the others were not."""

    what: str
    figures: tuple[Figure, ...]
    decisions: tuple[Count, ...]


def data(workload: str) -> Data | None:
    path = paths.dataset(workload) / "dataset.json"
    if not path.exists():
        return None
    record = read_json(path)
    with damage_named(path):
        total = record["images"]
        splits = (
            Count(name.replace("_", " "), meaning, record[name], record[name] / total)
            for name, meaning in _SPLITS.items()
            if record.get(name)
        )
        made = read_provenance(paths.dataset(workload)).params
        decided = (Setting(name, settings.text(v)) for name, v in made.items())
        return Data(total, tuple(splits), record["digest"], tuple(decided))


def fetched(workload: str) -> Fetched | None:
    crawled, downloaded = paths.crawled(workload), paths.downloaded(workload)
    lengths = []
    for path, read in (
        (crawled / "articles.jsonl", read_lines),
        (crawled / IMAGES, read_list),
        (downloaded / MANIFEST, read_lines),
    ):
        with damage_named(path):
            lengths.append(sum(1 for _ in read(path)) if path.exists() else 0)
    articles, named, good = lengths
    outcomes = Counter(fetched=good)
    failed = downloaded / "failed.txt"
    if failed.exists():
        with damage_named(failed), failed.open(encoding="utf-8") as file:
            # Address, tab, reason.
            outcomes.update(line.rstrip("\n").rpartition("\t")[2] for line in file)
    if not (articles or named or outcomes.total()):
        return None
    return Fetched(articles, named, _counts(outcomes, "fetched", {}))


def decides(params: Params) -> bool:
    """Whether collecting leaves some of what it finds out, and says why."""
    return isinstance(params.source, Faces | Merged)


def kept(params: Params, found: Sequence[Figure]) -> Kept | None:
    if not decides(params):
        return None
    own = tuple(f for f in found if f.stage == "collect" and f.value is not None)
    path, kind = paths.collected(params.workload) / "decisions.csv", params.source.type
    decisions: Counter[str] = Counter()
    if path.exists():
        with damage_named(path):
            decisions.update(str(row["decision"]) for row in csv_rows(path))
    if not own and not decisions:
        return None
    return Kept(_DECIDED[kind], own, _counts(decisions, "kept", _DECISIONS[kind]))


def _counts(counted: Counter[str], first: str, meanings: Mapping[str, str]) -> tuple[Count, ...]:
    """The good outcome first, then the most frequent; equally frequent ones by name."""
    total = counted.total()
    ordered = sorted((+counted).items(), key=lambda item: (item[0] != first, -item[1], item[0]))
    return tuple(Count(name, meanings.get(name, ""), n, n / total) for name, n in ordered)
