"""Training begins from a folder of diffusers."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

import tiny_models
from lockstep import cli
from lockstep.config.document import read_yaml
from lockstep.core import hashing
from lockstep.core.diffusers_folder import unet_file
from lockstep.core.errors import LockstepError
from lockstep.export import folder
from lockstep.models import generator
from lockstep.models.initial import load_initial

MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "none": ("none", {}),
    "labels": ("labels", {"patch": 2}),
    "words": ("prompts", {"pooled_text": True}),
    "placed": ("labels", {"placement_heads": 2}),
}


@pytest.fixture(scope="module", params=MODELS)
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model's folder, with what it is for diffusers in `out`."""
    root = tmp_path_factory.mktemp("initial")
    condition, options = MODELS[request.param]
    made = tiny_models.save(root / "model", condition, **options)
    (root / "out").mkdir()
    folder.write(root / "out", made, tiny_models.sample())
    return made


@pytest.fixture
def out(model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(model.parent / "out", tmp_path / "out"))


def fresh(model: Path) -> generator.Generator:
    torch.manual_seed(7)
    return generator.describe(model).build()


def states(model: Path, given: Path) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """The weights of the model, of a fresh one, and of one that begins from what is given."""
    begun = fresh(model)
    load_initial(begun, given)
    exported, _ = generator.load(model, "ema")
    return exported.state_dict(), fresh(model).state_dict(), begun.state_dict()


def test_an_exported_folder_gives_all_weights_back(model: Path, out: Path) -> None:
    exported, _, begun = states(model, out)
    own = (out / "pipeline.py").exists()
    assert own == (generator.describe(model).condition != "none")
    for name, tensor in exported.items():
        assert torch.equal(begun[name], tensor), name


def test_a_unet_alone_leaves_the_condition_as_it_is(model: Path, out: Path) -> None:
    for given in (out / "unet", out):
        for beside in ("condition", "placement"):
            shutil.rmtree(out / beside, ignore_errors=True)
        exported, first, begun = states(model, given)
        for name in exported:
            is_theirs = name.startswith("unet.") and "placement" not in name
            side = exported if is_theirs else first
            assert torch.equal(begun[name], side[name]), name


def test_a_file_of_the_projects_own_is_read_as_before(model: Path) -> None:
    exported, _, begun = states(model, model / "ema.safetensors")
    assert all(torch.equal(begun[name], tensor) for name, tensor in exported.items())


def test_what_does_not_fit_is_one_line(model: Path, out: Path, tmp_path: Path) -> None:
    heads = generator.describe(model).unet.placement_heads
    other = tiny_models.save(tmp_path / "other", "labels", patch=4, placement_heads=heads)
    with pytest.raises(LockstepError, match=r"unet/diffusion_.*: not this model's weights: ") as it:
        load_initial(fresh(other), out)
    assert "\n" not in str(it.value)


def test_a_placement_is_not_left_out_unsaid(model: Path, out: Path, tmp_path: Path) -> None:
    described = generator.describe(model)
    other = tiny_models.save(tmp_path / "other", described.condition, patch=described.unet.patch)
    if not described.unet.placement_heads:
        assert not (out / "placement").exists()
        return
    with pytest.raises(
        LockstepError, match=r"and model.placement_heads is 0; set it to that"
    ) as it:
        load_initial(fresh(other), out)
    assert "\n" not in str(it.value)


def test_a_folder_without_a_unet_is_named(out: Path) -> None:
    (out / "unet/diffusion_pytorch_model.safetensors").unlink()
    (out / "unet/diffusion_pytorch_model.bin").write_bytes(b"a pickle")
    with pytest.raises(LockstepError, match=r"out: no U-Net of diffusers in it; give a folder"):
        unet_file(out)


def add(*arguments: str) -> int:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["lockstep", "add", *arguments])
        with pytest.raises(SystemExit) as it:
            cli.main()
    return int(it.value.code or 0)


def test_add_notes_a_folder_with_its_hash(
    out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(tiny_models.ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    assert add("train.init_from", "out") == 0
    noted = read_yaml(tmp_path / "params.yaml")["train"]
    assert noted["init_from"] == "out"  # in the project, so that it may move
    assert noted["init_from_sha256"] == hashing.sha256(out)
    shutil.rmtree(out / "unet")
    capsys.readouterr()
    assert add("train.init_from", "out") == 1
    assert "no U-Net of diffusers in it" in capsys.readouterr().err
    assert read_yaml(tmp_path / "params.yaml")["train"] == noted
