"""The stage that draws, as it is run: its strips and its animation; and the command that draws."""

from __future__ import annotations

import errno
import importlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from lockstep import cli
from lockstep.config.load import load_params
from lockstep.config.schema import Params
from lockstep.core import images, paths
from lockstep.core.images import grid, read_rgb
from lockstep.core.pixels import to_bytes
from lockstep.models import generator
from lockstep.models.build import noise_schedule
from lockstep.models.conditions import Conditions
from lockstep.sampling.sample import denoising_strips, load
from lockstep.stage import code_of
from tiny import ROOT, tiny_params

STAGE = ROOT / "stages" / "sample.py"
OBJECTS = ["red sphere", "cyan cylinder", "cyan cube"]


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.syspath_prepend(str(ROOT / "stages"))
    return tmp_path


def prepare(workload: str, **sample: object) -> Params:
    """An untrained model and params.yaml, in the current folder."""
    labels = len(OBJECTS) if workload == "iclevr" else 0
    tiny = tiny_params()
    torch.manual_seed(0)
    description = generator.Description(
        unet=tiny.model.unet(),
        condition="labels" if labels else "none",
        labels=labels,
        size=16,
        schedule=noise_schedule(tiny.diffusion),
        prediction="v",
        precision="fp32",
        fingerprint="0" * 64,
        params={},
    )
    weights = description.build().state_dict()
    paths.model(workload).mkdir(parents=True)
    generator.save(paths.model(workload), description, {"ema": weights, "last": weights})
    folder = paths.dataset(workload)
    folder.mkdir(parents=True)
    if labels:
        asked = [OBJECTS[:1], OBJECTS[1:]]
        numbers = {name: number for number, name in enumerate(OBJECTS)}
        for name, content in (("objects", numbers), ("test", asked), ("new_test", asked)):
            (folder / f"{name}.json").write_text(json.dumps(content))
    document = yaml.safe_load((ROOT / "params.yaml").read_text("utf-8"))
    document[workload]["sample"] = {"count": 18, "batch_size": 5, "seeds": [3], **sample}
    document["threads"] = 1
    Path("params.yaml").write_text(yaml.safe_dump(document))
    return load_params(workload, Path("params.yaml"))


def run(settings: Params) -> Path:
    """Gives the folder of what is looked at."""
    importlib.import_module("stages.sample").main(settings)
    return paths.plots(settings.workload, "sample")


def strips(settings: Params, count: int) -> list[np.ndarray]:
    """What they are to be."""
    trained = load(paths.model(settings.workload), "ema")
    labelled = settings.workload == "iclevr"
    rows = Conditions.of(torch.ones(1, 3)) if labelled else Conditions.none(count)
    drawn = denoising_strips(trained, settings.sample, rows, seed=3)
    return [to_bytes(strip) for strip in drawn]


def last_frame(path: Path) -> tuple[np.ndarray, int]:
    with Image.open(path) as gif:
        count = getattr(gif, "n_frames", 1)
        gif.seek(count - 1)
        return np.asarray(gif.convert("RGB")), count


@pytest.mark.parametrize(("steps", "strip", "frames"), [(3, 10, 4), (8, 3, 9)])
def test_images_without_a_condition(work: Path, steps: int, strip: int, frames: int) -> None:
    settings = prepare("faces", steps=steps, strip=strip)
    shown = run(settings)
    expected = strips(settings, 16)
    assert {len(one) for one in expected} == {min(strip, steps + 1)}
    files = sorted((paths.strips(settings.workload)).iterdir())
    assert {file.name for file in files} == {
        *(f"{number}.png" for number in range(1, 17)),
        "denoising.gif",
        "provenance.json",
    }
    for number, one in enumerate(expected, 1):
        row = read_rgb(paths.strips(settings.workload) / f"{number}.png")
        assert np.array_equal(row, grid(one, per_row=len(one)))
        # The same noise as the image's own.
        own = read_rgb(paths.samples("faces") / f"gen_{number - 1:05d}.png").astype(int)
        assert np.abs(own - one[-1]).max() <= 1
    stacked = grid(np.concatenate(expected), per_row=len(expected[0]))
    assert np.array_equal(read_rgb(shown / "strip.png"), stacked)
    frame, count = last_frame(paths.strips(settings.workload) / "denoising.gif")
    assert count == frames
    clear = grid(np.stack([one[-1] for one in expected]), per_row=4)
    assert frame.shape == (2 * clear.shape[0], 2 * clear.shape[1], 3)
    apart = np.abs(frame[::2, ::2].astype(int) - clear).mean()
    noise = grid(np.stack([one[0] for one in expected]), per_row=4)
    assert apart < 0.5 * np.abs(noise.astype(int) - clear).mean()


def test_images_of_objects_have_one_strip(work: Path) -> None:
    settings = prepare("iclevr", steps=4, strip=3)
    shown = run(settings)
    (expected,) = strips(settings, 1)
    row = read_rgb(shown / "strip.png")
    assert np.array_equal(row, grid(expected, per_row=3))
    (own,) = paths.strips(settings.workload).glob("*.png")
    assert own.name == "1.png"
    assert np.array_equal(read_rgb(paths.strips(settings.workload) / "1.png"), row)
    frame, count = last_frame(paths.strips(settings.workload) / "denoising.gif")
    assert (frame.shape, count) == ((32, 32, 3), 5)


def test_two_processes_give_the_files_of_one(work: Path) -> None:
    """Of the one strip the first process draws nothing."""
    workload = "iclevr"
    settings = prepare(workload, steps=3, strip=3, processes=2)
    alone = run(settings).rename("alone")
    for name in ("src", "stages"):  # what the digests are of
        Path(name).symlink_to(ROOT / name)
    code = paths.code(workload, "sample")
    code.parent.mkdir(parents=True)
    code.write_text(code_of("sample", settings), "utf-8")
    ours = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    environment = {k: v for k, v in os.environ.items() if k not in ours}
    command = [sys.executable, str(STAGE), workload]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    together = paths.plots(workload, "sample")
    names = {file.relative_to(alone) for file in alone.rglob("*.*")}
    assert names == {file.relative_to(together) for file in together.rglob("*.*")}
    for name in names:
        one, other = (last_frame(folder / name)[0].astype(int) for folder in (alone, together))
        assert one.shape == other.shape
        # Another batch rounds otherwise; another palette may follow from it.
        allowed = 8 if name.suffix == ".gif" else 1
        assert np.abs(one - other).max() <= allowed


@pytest.fixture
def command(work: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """`command("sample", "faces")` -> (exit status, stderr)."""

    def call(*arguments: str) -> tuple[object, str]:
        monkeypatch.setattr(sys, "argv", ["lockstep", *arguments])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        return caught.value.code, capsys.readouterr().err

    return call


def test_the_command_takes_no_place_where_no_image_can_be(command) -> None:
    prepare("faces", steps=2)
    shutil.rmtree(paths.model("faces"))  # nothing is loaded, let alone drawn, before
    Path("d.png").mkdir()
    Path("f").write_text("mine")
    assert command("sample", "faces", "--out", "d.png") == (
        1,
        "error: d.png: is a folder; name a file in it\n",
    )
    status, err = command("sample", "faces", "--out", "f/x.png")
    assert status == 1 and "/f: is a file, so that f/x.png cannot be" in err
    assert err.count("\n") == 1
    status, err = command("sample", "faces", "--out", f"{'x' * 300}.png")
    assert status == 1 and "File name too long; name another file" in err
    assert Path("f").read_text() == "mine"


def test_an_image_that_is_there_stays_whole(command, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare("faces", steps=2)
    assert command("sample", "faces", "--count", "2", "--out", "new/x.png") == (0, "")
    before = Path("new/x.png").read_bytes()
    assert read_rgb(Path("new/x.png")).size > 0

    def full(path: Path, image: np.ndarray) -> None:
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(images, "write_png", full)
    status, err = command("sample", "faces", "--count", "2", "--out", "new/x.png")
    assert status == 1 and "No space left" in err
    assert Path("new/x.png").read_bytes() == before


def test_the_command_knows_the_models_levels(command) -> None:
    prepare("faces", steps=2)
    document = yaml.safe_load(Path("params.yaml").read_text("utf-8"))
    document["diffusion"]["timesteps"] = 2000  # since the model was trained
    Path("params.yaml").write_text(yaml.safe_dump(document))
    status, err = command("sample", "faces", "--steps", "1500")
    assert status == 1
    assert "1500 is above the 1000 noise levels of the model in models/faces" in err


def test_the_command_knows_the_models_objects(command) -> None:
    prepare("iclevr", steps=2)
    listed = paths.model("iclevr") / "names.json"
    listed.write_text(json.dumps({"red sphere": 0}))
    status, err = command("sample", "iclevr", "red sphere")
    assert status == 1
    assert "has 1 names, and the model 3: train again" in err
    listed.unlink()
    status, err = command("sample", "iclevr", "red sphere")
    assert (status, err) == (1, f"error: {listed}: missing; `dvc checkout` restores it\n")
