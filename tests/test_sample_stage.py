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


def pixels(path: str) -> np.ndarray:
    return read_rgb(Path(path)).astype(int)


@pytest.mark.parametrize("sampler", ["euler", "heun"])
def test_the_command_takes_a_sampler(command, sampler: str) -> None:
    prepare("faces", steps=3)
    assert command("sample", "faces", "--count", "2", "--out", "a.png") == (0, "")
    assert command("sample", "faces", "--count", "2", "--sampler", sampler, "--out", "b.png") == (
        0,
        "",
    )
    assert np.abs(pixels("a.png") - pixels("b.png")).max() > 1
    status, err = command("sample", "faces", "--sampler", "plms")
    assert status == 1 and err.count("\n") == 1
    assert "command line: faces.sample.sampler: input should be 'ddpm', 'ddim', 'dpmpp" in err


def test_the_command_begins_from_an_image(command) -> None:
    prepare("faces", steps=20)
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    Image.fromarray(image).save("mine.png")
    base = ("sample", "faces", "--count", "2", "--from", "mine.png")
    for strength in ("0.05", "1"):
        assert command(*base, "--strength", strength, "--out", f"{strength}.png") == (0, "")
    assert command(*base, "--out", "default.png") == (0, "")
    assert command(*base, "--strength", "0.6", "--out", "same.png") == (0, "")
    assert Path("default.png").read_bytes() == Path("same.png").read_bytes()
    middle = Image.fromarray(image[:, 5:25]).resize((16, 16), Image.Resampling.BICUBIC)
    far = [
        np.abs(pixels(f"{strength}.png")[:, :16] - np.asarray(middle)).mean()
        for strength in ("0.05", "1")
    ]
    assert far[0] < 0.5 * far[1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--strength", "0.5"], "error: --strength: says how noisy an image is made; name one by"),
        (["--from", "none.png"], "error: none.png: No such file or directory; name an image file"),
        (["--from", "."], "error: .: Is a directory; name an image file"),
        (["--from", "params.yaml"], "error: params.yaml: not a readable image ("),
        (["--interpolate", "1", "--count", "1"], "error: --interpolate: --count 1 leaves no way;"),
        (
            ["--from", "a.png", "--strength", "0.01"],
            "error: strength: 0.01 is below the last of 3 steps; give 0.333 or more, or take more",
        ),
    ],
    ids=str,
)
def test_what_the_command_cannot_begin_from(command, arguments: list[str], said: str) -> None:
    prepare("faces", steps=3)
    Image.new("RGB", (16, 16)).save("a.png")
    status, err = command("sample", "faces", *arguments)
    assert status == 1 and err.startswith(said) and err.count("\n") == 1
    assert not Path("sample.png").exists()


@pytest.mark.parametrize("strength", ["0", "1.1", "nan", "x"])
def test_a_strength_that_is_none(command, strength: str) -> None:
    status, err = command("sample", "faces", "--from", "a.png", "--strength", strength)
    assert status == 2 and f"{strength!r} is not a number above 0 and up to 1" in err


def test_the_command_goes_from_one_seed_to_another(command) -> None:
    prepare("faces", steps=3, batch_size=2)
    base = ("sample", "faces", "--seed", "3")
    assert command(*base, "--interpolate", "7", "--count", "3", "--out", "way.png") == (0, "")
    way = pixels("way.png")
    for seed, left in (("3", 0), ("7", 36)):
        one = ("sample", "faces", "--count", "1", "--seed", seed, "--out", "one.png")
        assert command(*one) == (0, "")
        assert np.abs(pixels("one.png") - way[:, left : left + 16]).max() <= 1


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
