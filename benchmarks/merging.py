"""How much memory a merge takes, in a process of its own.

`python -m benchmarks.merging COUNT` prints the bytes of the process before it and at most. The
files are tiny and already read: what is measured is what a merge keeps of them, not the reading.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import resource
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lockstep.config.load import load_params
from lockstep.config.sources import Merged as Settings
from lockstep.sources.exclude import Exclusions
from lockstep.sources.folders.merge import merge
from lockstep.sources.folders.read import ReadSettings
from lockstep.sources.folders.unpack import Source
from lockstep.sources.resume_cache import open_cache

_EQUAL = 10  # every tenth file has the bytes of one before it


def measure(count: int) -> tuple[int, int]:
    """Resident bytes before a merge of so many files, and the most there were."""
    command = [sys.executable, "-m", "benchmarks.merging", str(count)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    before, most = done.stdout.split()
    return int(before), int(most)


def _silent(items: Iterable[Any], total: int) -> Iterable[Any]:
    return items


def _prepare(folder: Path, count: int) -> None:
    """`folder/images.tar`, and what was read of its files in `folder/journal.db`."""
    random = np.random.default_rng(0)
    file = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(file, "PNG")
    figures = {"width": 300, "height": 400, "contrast": 51.25}
    png = {"png": base64.b64encode(file.getvalue()).decode()}
    with tarfile.open(folder / "images.tar", "w") as tar, open_cache(folder / "journal.db") as seen:
        for i in range(count):
            info = tarfile.TarInfo(f"some/folder/of/images/{i:09}.jpg")
            data = str(i - i % _EQUAL if i % _EQUAL == 1 else i).encode()
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
            own = {**figures, "perceptual_hash": random.bytes(32).hex()}
            seen.put(hashlib.sha256(data).hexdigest(), json.dumps({**own, **png}))


def _resident() -> int:
    status = Path("/proc/self/status").read_text()
    return 1024 * int(next(line.split()[1] for line in status.splitlines() if "VmRSS" in line))


def _main(count: int) -> None:
    settings = load_params("anime", Path("params.yaml")).source
    assert isinstance(settings, Settings)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _prepare(folder, count)
        (folder / "out").mkdir()
        before = _resident()
        with open_cache(folder / "journal.db") as cache:
            sources = [Source("images.tar", folder / "images.tar")]
            reading = ReadSettings(settings.size, 10**7)
            nothing = Exclusions(frozenset())
            out = folder / "out"
            merge(sources, out, cache, reading, settings, nothing, 10**7, 1, _silent)
        print(before, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)


if __name__ == "__main__":
    _main(int(sys.argv[1]))
