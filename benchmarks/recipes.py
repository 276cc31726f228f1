"""Several settings of one workload, trained for equal time: `python -m benchmarks.recipes`.

    python -m benchmarks.recipes iclevr recipes.yaml --minutes 5

recipes.yaml has a name a recipe and below it dotted keys of the workload, as presets have them:

    narrow: {}
    wide: {model.channels: [96, 192], model.attention: [true, true], model.patch: 4}

The data, the evaluator and what images are compared with are those of the project, which must have
been made (`dvc repro reference@iclevr`); everything after them is made anew in a temporary folder,
by the pipeline's own stages. One that sets `train.steps` trains for so many, the others for as many
as the minutes give. The table, with the figures of `evaluate`, goes to stdout.

Its `x0@t` are mean squared errors of the clean image that the first average of the weights sees in
held-out images at level t, in thousandths. Unlike losses they can be compared whatever is predicted
and however it is weighed, and unlike accuracies they hardly vary with the seed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors import safe_open

from benchmarks.report import machine
from lockstep.config.load import load_params
from lockstep.config.yaml_edit import set_values
from lockstep.core import device as hardware
from lockstep.core.files import read_json
from lockstep.core.pixels import to_tensor
from lockstep.data.dataset import open_dataset
from lockstep.diffusion import Denoiser
from lockstep.models import generator
from lockstep.models.conditions import Conditions

_CODE = ("src", "stages", "params.yaml", "exclude.txt")
_GIVEN = ("data/dataset", "data/reference", "evaluators")
_LATENTS = ("autoencoders", "data/encoded")
_LEVELS = (0.1, 0.3, 0.5, 0.7, 0.85, 0.95)  # shares of the timesteps
_HELD_OUT = 192  # images
_SHORT, _LONG = 10, 40  # steps, of the two runs whose difference is the time of a step


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recipes", description=__doc__)
    parser.add_argument("workload")
    parser.add_argument("recipes", type=Path)
    parser.add_argument("--minutes", type=float, default=5.0, help="of training (default: 5)")
    parser.add_argument("--keep", type=Path, help="a folder for each recipe's grids of images")
    arguments = parser.parse_args()
    recipes = yaml.safe_load(arguments.recipes.read_text("utf-8"))
    rows = []
    for name, values in recipes.items():
        with tempfile.TemporaryDirectory() as folder:
            tree = Path(folder)
            row = _run(tree, arguments.workload, values, 60 * arguments.minutes)
            if arguments.keep is not None:
                shutil.copytree(tree / "plots", arguments.keep / name, dirs_exist_ok=True)
        rows.append({"recipe": name, **row})
        print(rows[-1], file=sys.stderr, flush=True)
    print(f"{machine()['processor']}, {machine()['threads']} threads\n\n{_table(rows)}")


def _run(tree: Path, workload: str, values: dict[str, Any], seconds: float) -> dict[str, Any]:
    """Train, sample and evaluate in `tree`; what the table says of it."""
    _set_up(tree, workload, values)
    if any(key.startswith(("autoencoder.", "text.")) for key in values):
        for stage in ("autoencoder", "encode"):
            _stage(tree, stage, workload)
    steps = values.get("train.steps")
    if steps is None:
        times = []
        for few in (_SHORT, _LONG):
            _set_steps(tree, workload, few)
            times.append(_stage(tree, "train", workload))
        steps = int(seconds * (_LONG - _SHORT) / (times[1] - times[0]))
    _set_steps(tree, workload, steps)
    taken = _stage(tree, "train", workload)
    for stage in ("noisy_classifier", "sample", "evaluate"):
        _stage(tree, stage, workload)
    batch = load_params(workload, tree / "params.yaml").train.batch_size
    with safe_open(tree / "models" / workload / "last.safetensors", "pt") as file:
        parameters = sum(file.get_tensor(key).numel() for key in file.keys())  # noqa: SIM118
    return {
        "parameters": f"{parameters / 1e6:.1f} M",
        "steps": steps,
        "images": steps * batch,
        "minutes": round(taken / 60, 1),
        **_errors(tree, workload),
        **read_json(tree / "metrics" / workload / "train.json"),
        **read_json(tree / "metrics" / workload / "evaluate.json"),
    }


def _set_up(tree: Path, workload: str, values: dict[str, Any]) -> None:
    """The project with other values, and with links to what the recipes have in common."""
    for name in _CODE:
        source = Path(name)
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tree / name)
    own_latents = any(key.startswith(("autoencoder.", "text.")) for key in values)
    for name in _GIVEN if own_latents else (*_GIVEN, *_LATENTS):
        link = tree / name / workload
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to((Path(name) / workload).resolve(strict=True))
    set_values(
        tree / "params.yaml",
        {f"{workload}.{key}": value for key, value in values.items()},
        may_add=True,
    )
    subprocess.run([sys.executable, "stages/check.py"], cwd=tree, check=True)


def _set_steps(tree: Path, workload: str, steps: int) -> None:
    set_values(tree / "params.yaml", {f"{workload}.train.steps": steps}, may_add=True)


def _stage(tree: Path, stage: str, workload: str) -> float:
    """Run a stage in the tree. Gives its seconds; its progress goes to stderr."""
    began = time.perf_counter()
    command = [sys.executable, f"stages/{stage}.py", workload]
    environment = {**os.environ, "DVC_ROOT": str(tree), "GIT_DIR": os.devnull}
    subprocess.run(command, cwd=tree, env=environment, check=True, stdout=sys.stderr)
    return time.perf_counter() - began


@torch.no_grad()
def _errors(tree: Path, workload: str) -> dict[str, float]:
    """Of the estimated clean image, or latents, at each level."""
    folder = tree / "models" / workload
    name = next(name for name in ("ema", "last") if (folder / f"{name}.safetensors").exists())
    model, about = generator.load(folder, name)
    data = open_dataset(tree / "data/dataset" / workload, tree / "data/encoded" / workload)
    chosen = data.indices("validation")[:_HELD_OUT]
    pixels = data.latents is None
    x0 = to_tensor(data.images[chosen]) if pixels else torch.from_numpy(data.seen[chosen]).float()
    device = hardware.device()
    x0 = x0.to(device)
    conditions = Conditions.of(torch.from_numpy(data.conditions_of(chosen))).to(device)
    denoiser = Denoiser(lambda x, t: model(x, t, conditions), about.schedule, about.prediction)
    random = torch.Generator().manual_seed(0)
    errors = {}
    for share in _LEVELS:
        t = int(share * about.schedule.timesteps)
        noise = torch.randn(x0.shape, generator=random).to(device)
        noisy = about.schedule.add_noise(x0, noise, torch.tensor(t))
        noisy = noisy.contiguous(memory_format=torch.channels_last)
        errors[f"x0@{share:g}"] = 1e3 * (denoiser(noisy, t).x0 - x0).square().mean().item()
    return errors


def _table(rows: list[dict[str, Any]]) -> str:
    """Markdown, a line a recipe."""
    heads = list(dict.fromkeys(key for row in rows for key in row))
    lines = [heads, ["---"] * len(heads)]
    for row in rows:
        shown = (row.get(head, "") for head in heads)
        lines.append([f"{x:.3f}" if isinstance(x, float) else str(x) for x in shown])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    main()
