"""How long it takes to find the near copies among perceptual hashes, and how much memory.

`python -m benchmarks.near_copies KIND COUNT BITS` prints seconds, the bytes of the process's peak
memory, and how many of the hashes stay.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray

from lockstep.sources.near_copies import first_alike

_PART = 2**14
_COPIES = 0.1
_FACTORS, _OFFSET = 40, 0.45


def measure(kind: str, count: int, bits: int) -> tuple[float, float]:
    """Seconds and bytes, of so many hashes that may differ in `bits` bits."""
    command = [sys.executable, "-m", "benchmarks.near_copies", kind, str(count), str(bits)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds, memory, _ = done.stdout.split()
    return float(seconds), float(memory)


def _independent(count: int, random: np.random.Generator) -> NDArray[np.uint8]:
    """No bit says anything of another one."""
    return random.integers(0, 256, (count, 32), np.uint8)


def _images(count: int, random: np.random.Generator) -> NDArray[np.uint8]:
    """Two differ in 112 +- 13 bits, as two aligned faces do, for their bits are related."""
    mixed, middle = _mixture()
    values = random.standard_normal((count, _FACTORS)).astype(np.float32)
    return np.packbits(values @ mixed > middle, axis=1)


@cache
def _mixture() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    random = np.random.default_rng(1)
    mixed = random.standard_normal((_FACTORS, 256)) / np.sqrt(_FACTORS)
    return mixed.astype(np.float32), (_OFFSET * random.standard_normal(256)).astype(np.float32)


def _crowded(count: int, random: np.random.Generator) -> NDArray[np.uint8]:
    """Every other bit is the same in all: no table tells them apart."""
    return _independent(count, random) & np.uint8(0x55)


def _black(count: int, random: np.random.Generator) -> NDArray[np.uint8]:
    """All are the same but for up to eight bits."""
    hashes = np.zeros((count, 32), np.uint8)
    hashes[np.arange(count), random.integers(0, 32, count)] = random.integers(0, 256, count)
    return hashes


KINDS: dict[str, Callable[[int, np.random.Generator], NDArray[np.uint8]]] = {
    "independent": _independent,
    "images": _images,
    "crowded": _crowded,
    "black": _black,
}


def hashes_of(kind: str, count: int, bits: int) -> NDArray[np.uint8]:
    """(N, 32) in random order; a tenth differ from another one in 0 to `bits` bits."""
    random = np.random.default_rng(0)
    hashes = np.empty((count, 32), np.uint8)
    copies = int(_COPIES * count)
    for start in range(copies, count, _PART):
        part = hashes[start : start + _PART]
        part[:] = KINDS[kind](len(part), random)
    for start in range(0, copies, _PART):
        part = hashes[start : min(start + _PART, copies)]
        signs = np.unpackbits(hashes[random.integers(copies, count, len(part))], axis=1)
        order = random.permuted(np.tile(np.arange(256), (len(part), 1)), axis=1)
        signs ^= order < random.integers(0, bits + 1, (len(part), 1))
        part[:] = np.packbits(signs, axis=1)
    random.shuffle(hashes)
    return hashes


def _main(kind: str, count: int, bits: int) -> None:
    hashes = hashes_of(kind, count, bits)
    began = time.perf_counter()
    found = first_alike(hashes, bits)
    seconds = time.perf_counter() - began
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(seconds, memory, int((found < 0).sum()))


if __name__ == "__main__":
    _main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
