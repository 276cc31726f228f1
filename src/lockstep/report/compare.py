"""Which metrics of two commits or experiments differ by more than their error."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lockstep.core import paths
from lockstep.core.errors import LockstepError
from lockstep.report import git, metrics, numbers

# What is beyond twice its error by chance once in twenty times.
_TIMES = 2
_SIZES = ("n_generated", "n_reference")


@dataclass(frozen=True)
class Difference:
    """A metric that both have; `error` is that of the difference, None if it is not known."""

    workload: str
    stage: str
    name: str
    one: float
    other: float
    error: float | None

    @property
    def change(self) -> float:
        return self.other - self.one

    @property
    def is_larger(self) -> bool:
        """Whether it is larger than twice its error."""
        return self.error is not None and abs(self.change) > _TIMES * self.error

    @property
    def verdict(self) -> str:
        if self.error is None:
            return "error unknown"
        if not self.is_larger:
            return "within its error"
        sign = metrics.direction(self.name) * self.change
        return "differs" if sign == 0 else "better" if sign > 0 else "worse"


def compare(one: str, other: str | None, workload: str | None = None) -> list[Difference]:
    """The metrics that differ between two revisions; without `other`, from what is on disk.

    A revision is any name of a commit, or that of an experiment. Two errors make that of the
    difference, sqrt(a^2 + b^2): the images of both were drawn on their own.

    Raises
    ------
    LockstepError
        If a revision is not there, or has no metrics.
    """
    before, after = _read(one, workload), _read(other, workload)
    return [
        Difference(name, stage, metric, value, there[metric], _error(metric, values, there))
        for name, stages in before.items()
        for stage, values in stages.items()
        for there in [after.get(name, {}).get(stage, {})]
        for metric, value in values.items()
        if not metric.endswith(("_sd", "_se")) and there.get(metric, value) != value
    ]


def lines(found: Sequence[Difference], everything: bool = False) -> Iterator[str]:
    """What is larger than twice its error, a line each, and what else there is to know.

    With `everything`, also what is not larger, and what has no error.
    """
    shown = [one for one in found if everything or one.is_larger]
    rows = [
        (
            one.workload,
            one.name,
            numbers.text(one.one),
            numbers.text(one.other),
            _with_error(one),
            one.verdict,
        )
        for one in shown
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()
    larger = sum(one.is_larger for one in found)
    unknown = sum(one.error is None for one in found)
    yield (
        f"{larger} of {len(found) - unknown} differences are larger than twice their error (by "
        f"chance 1 in 20 would be); {unknown} more have no error"
    )
    for one in found:
        if one.name in _SIZES:
            yield (
                f"{one.workload}: {one.name} is {numbers.text(one.one)} and "
                f"{numbers.text(one.other)}: distances of other numbers of images do not compare"
            )


def _with_error(one: Difference) -> str:
    change = numbers.change(one.change, like=one.other)
    if one.error is None:
        return change
    return f"{change} ± {numbers.text(one.error, numbers.decimals(one.other))}"


def _read(revision: str | None, workload: str | None) -> dict[str, dict[str, dict[str, float]]]:
    """The metrics of each workload and stage; of the files on disk without a revision."""
    folder = paths.metrics("any", "any").parent.parent
    if revision is None:
        names = sorted(path.name for path in folder.glob("*/"))
        found = {name: metrics.on_disk(name) for name in names if workload in (None, name)}
    else:
        if (commit := git.commit_of(revision)) is None:
            raise LockstepError(
                f"{revision}: no commit, and no experiment, or several; `dvc exp show "
                "--all-commits` lists them"
            )
        names = [path.name for path in git.committed_files(folder, commit)]
        found = {
            name: metrics.at_commit(name, commit) for name in names if workload in (None, name)
        }
    if not any(found.values()):
        of = f" of {workload}" if workload else ""
        raise LockstepError(f"{revision or folder}: has no metrics{of}; `dvc repro` makes them")
    return found


def _error(name: str, one: dict[str, float], other: dict[str, float]) -> float | None:
    a, b = one.get(f"{name}_se"), other.get(f"{name}_se")
    return None if a is None or b is None else math.hypot(a, b)
