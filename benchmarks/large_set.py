"""How long the stages up to the training take for a large set, and how much memory.

`python -m benchmarks.large_set COUNT` makes so many images of `captions`, latents and 50 training
steps in a temporary folder (4 GB for 200,000), and prints seconds, the peak resident memory of the
largest process with and without mapped files, bytes and files of each stage.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import yaml

from benchmarks import stage

_W = "captions"
_OUTPUTS = {
    "collect": "data/collected",
    "dataset": "data/dataset",
    "autoencoder": "autoencoders",
    "encode": "data/encoded",
    "train": "models",
}


def _write_params(folder: Path, count: int) -> None:
    document = yaml.safe_load((stage.ROOT / "params.yaml").read_text("utf-8"))
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
    stage.prepare(folder)


def _main(count: int) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        _write_params(folder, count)
        print(
            "| stage | seconds | peak memory | of it not mapped files | on disk | files |\n"
            "| --- | --- | --- | --- | --- | --- |"
        )
        for name in ("check", "crawl", "download", *_OUTPUTS):
            cost = stage.run(name, _W, folder)
            if (out := _OUTPUTS.get(name)) is None:
                continue
            files = [path for path in (folder / out / _W).rglob("*") if path.is_file()]
            size = sum(path.stat().st_size for path in files)
            memory = f"{cost.resident / 2**30:.2f} GiB | {cost.own / 2**30:.2f} GiB"
            sizes = f"{size / 1e6:.0f} MB | {len(files)}"
            print(f"| {name} | {cost.seconds:.0f} | {memory} | {sizes} |", flush=True)


if __name__ == "__main__":
    _main(int(sys.argv[1]))
