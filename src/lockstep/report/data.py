"""Of what the data set consists, and what became of pictures and faces on the way to it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lockstep import damage, paths, records, tables
from lockstep.collect.listing import read_lines, read_list
from lockstep.collect.names import IMAGES, MANIFEST
from lockstep.report import settings
from lockstep.report.figures import Figure
from lockstep.report.settings import Setting

_SPLITS = {
    "train": "trains the generator",
    "validation": "held out: the validation loss",
    "judge_train": "trains the evaluator",
    "judge_validation": "held out: the evaluator's own accuracy",
}
# What a stage decides about, and why it leaves one out.
_DECIDED = {"crop": "faces", "merge": "files"}
_DECISIONS = {
    "crop": {
        "small": "narrower than crop.min_box",
        "tilted": "the eyes' line is steeper than crop.max_slope",
        "turned": "the nose is not between the eyes (crop.nose)",
        "eyes": "the eyes are too near or too far apart (crop.eye_ratio)",
        "cut": "too much lies outside the picture (crop.max_outside)",
        "blurred": "less sharp than crop.min_sharpness",
        "duplicate": "another copy of a face that was kept",
        "excluded": "asked for in exclude.txt",
    },
    "merge": {
        "refused": "a link, a bomb, a name that leads out of its archive, or too large",
        "broken": "no picture, or not to its end",
        "small": "a side shorter than merge.min_side",
        "aspect": "longer or higher than merge.max_aspect allows",
        "blank": "less contrast than merge.min_contrast",
        "copy": "the same bytes as a file that was kept",
        "duplicate": "looks like a picture that was kept",
        "excluded": "asked for in exclude.txt",
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

    pictures: int
    splits: tuple[Count, ...]
    digest: str
    settings: tuple[Setting, ...]


@dataclass(frozen=True)
class Fetched:
    """What a crawl found, and what became of the pictures; 0 or empty where that is missing."""

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
    record = records.read(path)
    with damage.named(path):
        total = record["pictures"]
        splits = (
            Count(name.replace("_", " "), meaning, record[name], record[name] / total)
            for name, meaning in _SPLITS.items()
            if record.get(name)
        )
        decided = (Setting(name, settings.text(v)) for name, v in record["params"].items())
        return Data(total, tuple(splits), record["digest"], tuple(decided))


def fetched(workload: str) -> Fetched | None:
    crawled, downloaded = paths.crawled(workload), paths.downloaded(workload)
    lengths = []
    for path, read in (
        (crawled / "articles.jsonl", read_lines),
        (crawled / IMAGES, read_list),
        (downloaded / MANIFEST, read_lines),
    ):
        with damage.named(path):
            lengths.append(sum(1 for _ in read(path)) if path.exists() else 0)
    articles, named, good = lengths
    outcomes = Counter(fetched=good)
    failed = downloaded / "failed.txt"
    if failed.exists():
        with damage.named(failed), failed.open(encoding="utf-8") as file:
            # Address, tab, reason.
            outcomes.update(line.rstrip("\n").rpartition("\t")[2] for line in file)
    if not (articles or named or outcomes.total()):
        return None
    return Fetched(articles, named, _counts(outcomes, "fetched", {}))


def kept(workload: str, stage: str, found: Sequence[Figure]) -> Kept | None:
    own = tuple(f for f in found if f.stage == stage and f.value is not None)
    path = paths.collected(workload) / "decisions.csv"
    decisions: Counter[str] = Counter()
    if path.exists():
        with damage.named(path):
            decisions.update(str(row["decision"]) for row in tables.rows(path))
    if not own and not decisions:
        return None
    return Kept(_DECIDED[stage], own, _counts(decisions, "kept", _DECISIONS[stage]))


def _counts(counted: Counter[str], first: str, meanings: Mapping[str, str]) -> tuple[Count, ...]:
    """The good outcome first, then the most frequent; equally frequent ones by name."""
    total = counted.total()
    ordered = sorted((+counted).items(), key=lambda item: (item[0] != first, -item[1], item[0]))
    return tuple(Count(name, meanings.get(name, ""), n, n / total) for name, n in ordered)
