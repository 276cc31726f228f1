"""Time and peak memory of evaluating many images, in a process of its own.

`python -m benchmarks.evaluation COUNT` prints the seconds of each figure and the peak memory.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lockstep.core import device as hardware
from lockstep.core.images import write_png
from lockstep.core.processes import cores
from lockstep.evaluation import classifier, dlib_embedding, reference
from lockstep.evaluation.frechet import frechet_distance, frechet_error
from lockstep.evaluation.kernel import kernel_distance
from lockstep.evaluation.manifolds import manifold_metrics
from lockstep.evaluation.neighbours import authentic
from lockstep.evaluation.neighbours import memorization as copies
from lockstep.evaluation.rows import ImageFiles
from lockstep.evaluation.space import network_space
from lockstep.evaluation.swd import sliced_wasserstein

_SLICED = 2048


def measure(count: int) -> dict[str, float]:
    """Seconds of each figure for `count` images of 64 x 64, and the peak memory in bytes."""
    command = [sys.executable, "-m", "benchmarks.evaluation", str(count)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def _measured(count: int, folder: Path) -> dict[str, float]:
    random = np.random.default_rng(0)
    for i in range(count):
        write_png(folder / f"{i}.png", random.integers(0, 256, (64, 64, 3), np.uint8))
    drawn = ImageFiles(sorted(folder.iterdir()))
    on_disk = np.lib.format.open_memmap(folder / "training.npy", "w+", np.uint8, (count, 64, 64, 3))
    for start in range(0, count, 256):
        part = on_disk[start : start + 256]
        part[:] = random.integers(0, 256, part.shape, np.uint8)
    on_disk.flush()
    training: NDArray[np.uint8] = np.load(folder / "training.npy", mmap_mode="r")
    network = hardware.place(classifier.Classifier(24)).eval()
    space = network_space("classifier", network.features)
    figures: dict[str, float] = {}

    @contextmanager
    def timed(name: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        figures[name] = time.perf_counter() - began

    with timed("classifier's features"):
        ours = reference.statistics_of(space.features(drawn))
    theirs = reference.statistics_of(space.features(drawn))
    with timed("Fréchet distance"):
        frechet_distance(ours.normal, theirs.normal)
    with timed("its error"):
        frechet_error(ours.features, theirs.normal)
    with timed("kernel distance"):
        kernel_distance(ours.features, theirs.features)
    with timed("precision, recall, density, coverage"):
        manifold_metrics(ours.features, theirs.features, 5)
    with timed("copies, in features"):
        near = copies(ours.features, theirs.features)
    with timed("authenticity"):
        authentic(near, theirs.features)
    with timed("copies, in pixels"):
        copies(drawn, training)
    with timed("sliced Wasserstein distance"):
        some = min(count, _SLICED)
        sliced_wasserstein(drawn[:some], np.asarray(training[:some]))
    with timed("dlib's features"):
        reference.statistics_of(dlib_embedding.space().features(drawn))
    figures["peak memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return figures


if __name__ == "__main__":
    hardware.make_deterministic(cores())
    with tempfile.TemporaryDirectory() as _folder:
        print(json.dumps(_measured(int(sys.argv[1]), Path(_folder))))
