"""`python -m benchmarks [--quick] [--only NAME ...]`: a table, and benchmarks/results.json."""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks import (
    evaluation,
    limit,
    loader,
    memory,
    merging,
    near_copies,
    race,
    report,
    sampling,
    training,
)
from benchmarks.models import SHAPES
from benchmarks.report import Row
from lockstep.core import device as hardware
from lockstep.core.files import write_json

RESULTS = Path("benchmarks/results.json")
_PRECISIONS: tuple[hardware.Precision, ...] = ("fp32", "bf16")


def _training(quick: bool) -> Iterator[Row]:
    for shape, precision in itertools.product(SHAPES, _PRECISIONS):
        rounds = 2 if quick else {"lab6": 5, "quick": 40}[shape]
        figures = training.measure(shape, precision, rounds)
        yield Row(f"training step, {shape}, {precision}", "s", figures)
        alone = {"lockstep": limit.measure(shape, precision, rounds)}
        yield Row(f"its products alone, {shape}, {precision}", "s", alone)


def _sampling(quick: bool) -> Iterator[Row]:
    for shape, precision in itertools.product(SHAPES, _PRECISIONS):
        rounds = 1 if quick else {"lab6": 2, "quick": 15}[shape]
        figures = sampling.measure(shape, precision, rounds)
        milliseconds = {side: 1000 * value for side, value in figures.items()}
        yield Row(f"sampling, {shape}, {precision}", "ms an image and step", milliseconds)


def _race(quick: bool) -> Iterator[Row]:
    for precision in _PRECISIONS:
        goal, figures = race.measure(precision, steps=40 if quick else 100)
        yield Row(f"to a validation loss of {goal:.3f}, quick, {precision}", "s", figures)


def _loader(quick: bool) -> Iterator[Row]:
    for size in (16, 128):
        rate = loader.measure(size, steps=20 if quick else 2000 // size)
        yield Row(f"loader, batches of {size}", "images a second", {"lockstep": rate}, more=True)


def _memory(quick: bool) -> Iterator[Row]:
    for shape, precision in itertools.product(("quick",) if quick else SHAPES, _PRECISIONS):
        figures = {k: value / 2**30 for k, value in memory.measure(shape, precision).items()}
        yield Row(f"peak memory of training, {shape}, {precision}", "GiB", figures)


def _evaluation(quick: bool) -> Iterator[Row]:
    for count in (500,) if quick else (2_000, 10_000):
        for name, figure in evaluation.measure(count).items():
            memory_row = name == "peak memory"
            unit, value = ("GiB", figure / 2**30) if memory_row else ("s", figure)
            yield Row(f"evaluation of {count} images, {name}", unit, {"lockstep": value})


def _near_copies(quick: bool) -> Iterator[Row]:
    count = 20_000 if quick else 1_000_000
    for kind, bits in (("independent", 24), ("images", 24), ("images", 32), ("black", 24)):
        seconds, most = near_copies.measure(kind, count, bits)
        what = f"near copies among {count} hashes, {kind}, {bits} bits"
        yield Row(what, "s", {"lockstep": seconds})
        yield Row(f"{what}: peak memory", "GiB", {"lockstep": most / 2**30})


def _merging(quick: bool) -> Iterator[Row]:
    for count in (5_000,) if quick else (20_000, 80_000):
        before, most = merging.measure(count)
        grown = {"lockstep": (most - before) / 2**20}
        yield Row(f"memory of merging {count} files", "MiB", grown)


_PARTS: dict[str, Callable[[bool], Iterator[Row]]] = {
    "training": _training,
    "sampling": _sampling,
    "race": _race,
    "loader": _loader,
    "memory": _memory,
    "evaluation": _evaluation,
    "near_copies": _near_copies,
    "merging": _merging,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few rounds, to see that it works")
    parser.add_argument("--only", nargs="+", choices=_PARTS, default=list(_PARTS))
    parser.add_argument("--threads", type=int, default=2, help="of the processor (default: 2)")
    arguments = parser.parse_args()
    hardware.make_deterministic(arguments.threads)
    rows = []
    for name in arguments.only:
        for row in _PARTS[name](arguments.quick):
            print(report.table([row]).splitlines()[-1], file=sys.stderr, flush=True)
            rows.append(row)
    print(report.table(rows))
    command = " ".join(["python -m benchmarks", *sys.argv[1:]])
    write_json(RESULTS, report.as_json(rows, command))


if __name__ == "__main__":
    main()
