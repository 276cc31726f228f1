"""How long the stages up to the training take for a large set, and how much memory.

`python -m benchmarks.large_set COUNT` makes so many images of `captions`, latents and 50 training
steps in a temporary folder (12 GB for 200,000), and prints seconds, the peak resident memory of the
largest process, bytes and files of each stage.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

_ROOT = Path(__file__).resolve().parent.parent
_W = "captions"
_OUTPUTS = {
    "collect": "data/collected",
    "dataset": "data/dataset",
    "autoencoder": "autoencoders",
    "encode": "data/encoded",
    "train": "models",
}


def _write_params(folder: Path, count: int) -> None:
    document = yaml.safe_load((_ROOT / "params.yaml").read_text("utf-8"))
    changes = {
        "source": {"count": count, "supersample": 1},
        "dataset": {"evaluator": 0.02},
        "autoencoder": {"kind": "kl", "steps": 50},
        "noisy_classifier": {"steps": 0},
        "model": {"patch": 1},
        "train": {"steps": 50},
        "sample": {"clip": 10.0, "classifier_scale": 0.0},
    }
    for section, values in changes.items():
        document[_W].setdefault(section, {}).update(values)
    (folder / "params.yaml").write_text(yaml.safe_dump(document), "utf-8")
    (folder / "exclude.txt").write_text("", "utf-8")
    (folder / "stages").symlink_to(_ROOT / "stages")  # digested by the first stage


def _run(stage: str, folder: Path) -> tuple[float, int]:
    """Seconds of a stage, and the peak bytes of it or of a process that it waited for."""
    command = [sys.executable, str(_ROOT / "stages" / f"{stage}.py")]
    start = time.perf_counter()
    done = subprocess.Popen([*command, *([] if stage == "check" else [_W])], cwd=folder)
    _, status, usage = os.wait4(done.pid, 0)
    done.returncode = os.waitstatus_to_exitcode(status)
    if done.returncode:
        raise SystemExit(f"{stage}: exit status {done.returncode}")
    return time.perf_counter() - start, 1024 * usage.ru_maxrss


def _main(count: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write_params(folder, count)
        print(
            "| stage | seconds | peak memory | on disk | files |\n| --- | --- | --- | --- | --- |"
        )
        for stage in ("check", "crawl", "download", *_OUTPUTS):
            seconds, peak = _run(stage, folder)
            if (out := _OUTPUTS.get(stage)) is None:
                continue
            files = [path for path in (folder / out / _W).rglob("*") if path.is_file()]
            size = sum(path.stat().st_size for path in files)
            sizes = f"{peak / 2**30:.2f} GiB | {size / 1e6:.0f} MB | {len(files)}"
            print(f"| {stage} | {seconds:.0f} | {sizes} |", flush=True)


if __name__ == "__main__":
    _main(int(sys.argv[1]))
