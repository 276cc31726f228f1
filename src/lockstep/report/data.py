"""Of what the data set consists, and what became of images and faces on the way to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lockstep.config.schema import Params
from lockstep.config.sources import Faces, MergeRules
from lockstep.core import paths
from lockstep.core.files import damage_named, read_json
from lockstep.core.provenance import read_provenance
from lockstep.report import settings
from lockstep.report.metrics import Metric
from lockstep.report.settings import Setting
from lockstep.sources import outcomes
from lockstep.sources.listing import IMAGES, read_lines, read_list
from lockstep.sources.outcomes import Count

_SPLITS = {
    "train": "trains the generator",
    "validation": "held out: the validation loss",
    "evaluator_train": "trains the evaluator",
    "evaluator_validation": "held out: the evaluator's own accuracy",
}


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
    metrics: tuple[Metric, ...]
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
    crawled = paths.crawled(workload)
    lengths = []
    for path, read in ((crawled / "articles.jsonl", read_lines), (crawled / IMAGES, read_list)):
        with damage_named(path):
            lengths.append(sum(1 for _ in read(path)) if path.exists() else 0)
    articles, named = lengths
    found = outcomes.fetched(paths.downloaded(workload))
    return Fetched(articles, named, found) if articles or named or found else None


def decides(params: Params) -> bool:
    """Whether collecting leaves some of what it finds out, and says why."""
    return isinstance(params.source, Faces | MergeRules)


def kept(params: Params, found: Sequence[Metric]) -> Kept | None:
    if not decides(params):
        return None
    own = tuple(f for f in found if f.stage == "collect" and f.value is not None)
    kind = params.source.type
    decisions = outcomes.decided(paths.collected(params.workload), kind)
    return Kept(outcomes.DECIDED[kind], own, decisions) if own or decisions else None
