from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file, save_file

from lockstep.core import hashing
from lockstep.core.errors import LockstepError
from lockstep.models import autoencoder
from lockstep.models.autoencoder import KLAutoencoder, KLConfig
from lockstep.models.autoencoder.pretrained import Origin, Pretrained, fetch

IMAGES = torch.rand(2, 3, 16, 24, generator=torch.Generator().manual_seed(0)) * 2 - 1
LATENTS = torch.randn(2, 4, 8, 12, generator=torch.Generator().manual_seed(1))


def library_model(**changes: Any) -> AutoencoderKL:
    torch.manual_seed(0)
    return AutoencoderKL(
        **{
            "down_block_types": ("DownEncoderBlock2D",) * 2,
            "up_block_types": ("UpDecoderBlock2D",) * 2,
            "block_out_channels": (8, 16),
            "norm_num_groups": 4,
            "sample_size": 16,
            **changes,
        }
    ).eval()


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline's folder with an autoencoder in `vae`. Shared: take `folder` to change it."""
    folder = tmp_path_factory.mktemp("pipeline")
    library_model().save_pretrained(folder / "vae")
    return folder


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    return shutil.copytree(saved, tmp_path / "pipeline")


@torch.no_grad()
def theirs(model: AutoencoderKL, shift: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
    scale = model.config.scaling_factor
    encoded = (model.encode(IMAGES).latent_dist.mode() - shift) * scale
    return encoded, model.decode(LATENTS / scale + shift).sample.clamp(-1, 1)


def ours(model: autoencoder.Autoencoder) -> tuple[torch.Tensor, torch.Tensor]:
    return model.encode(IMAGES), model.decode(LATENTS)


def test_it_computes_what_the_library_does(saved: Path) -> None:
    model = fetch(str(saved), "vae")
    assert (model.channels, model.reduction) == (4, 2)
    torch.testing.assert_close(ours(model), theirs(library_model()), atol=1e-6, rtol=1e-6)
    assert model.encode(IMAGES).shape == LATENTS.shape
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_its_own_scale_and_shift_hold(tmp_path: Path) -> None:
    library = library_model(scaling_factor=0.36, shift_factor=0.12)
    library.save_pretrained(tmp_path)
    model = fetch(str(tmp_path))
    expected = theirs(library, shift=0.12)
    torch.testing.assert_close(ours(model), expected, atol=1e-6, rtol=1e-6)


def test_so_do_means_and_deviations_of_its_channels(tmp_path: Path) -> None:
    mean, deviation = [-1.0, 2.0, 0.5, 0.0], [5.0, 4.0, 3.0, 2.0]
    library = library_model(latents_mean=mean, latents_std=deviation, scaling_factor=0.5)
    library.save_pretrained(tmp_path)
    with torch.no_grad():
        mode = library.encode(IMAGES).latent_dist.mode()
    encoded, _ = ours(fetch(str(tmp_path)))
    torch.testing.assert_close(encoded[:, 1], (mode[:, 1] - 2.0) * 0.5 / 4.0)
    torch.testing.assert_close(encoded[:, 3], mode[:, 3] * 0.5 / 2.0)


def test_what_is_saved_suffices_without_the_origin(folder: Path, tmp_path: Path) -> None:
    model = fetch(str(folder), "vae")
    out = tmp_path / "out"
    out.mkdir()
    autoencoder.save(model, out)
    expected = ours(model)
    shutil.rmtree(folder)
    loaded = autoencoder.load(out)
    assert isinstance(loaded, Pretrained) and not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    assert loaded.origin == model.origin and loaded.origin.subfolder == "vae"
    torch.testing.assert_close(ours(loaded), expected, atol=1e-6, rtol=1e-6)


def test_it_may_have_to_be_that_one_and_no_other(folder: Path) -> None:
    right = hashing.sha256(folder / "vae")  # there are no other files
    (folder / "vae/README.md").write_text("of no matter")
    assert fetch(str(folder), "vae", right).origin == Origin(str(folder), "vae", right)
    with pytest.raises(LockstepError, match=rf"vae: autoencoder.sha256: .* have {right}, not what"):
        fetch(str(folder), "vae", "0" * 64)
    config = folder / "vae/config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"scaling_factor": 0.5}))
    with pytest.raises(LockstepError, match=r"vae: autoencoder.sha256: config\.json and .* have"):
        fetch(str(folder), "vae", right)


def test_old_names_of_weights_are_known(folder: Path) -> None:
    """Those that Stable Diffusion's first weights have."""
    path = folder / "vae/diffusion_pytorch_model.safetensors"
    names = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}

    def old(name: str) -> str:
        for new, before in names.items():
            name = name.replace(f"attentions.0.{new}.", f"attentions.0.{before}.")
        return name

    weights = load_file(path)
    renamed = {old(name): tensor for name, tensor in weights.items()}
    assert len(renamed.keys() - weights.keys()) == 16
    save_file(renamed, path, {"format": "pt"})
    model = fetch(str(folder), "vae")
    torch.testing.assert_close(ours(model), theirs(library_model()), atol=1e-6, rtol=1e-6)


def test_half_precision_weights_compute_in_fp32(folder: Path) -> None:
    path = folder / "vae/diffusion_pytorch_model.safetensors"
    half = {name: tensor.half() for name, tensor in load_file(path).items()}
    save_file(half, path, {"format": "pt"})
    model = fetch(str(folder), "vae")
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    torch.testing.assert_close(ours(model), theirs(library_model()), atol=5e-3, rtol=5e-3)


def fails(message: str, name: str, subfolder: str = "") -> None:
    with pytest.raises(LockstepError, match=message) as caught:
        fetch(name, subfolder)
    assert len(str(caught.value).splitlines()) == 1


def test_folders_without_an_autoencoder_are_named(folder: Path) -> None:
    fails(r"pipeline/config.json: no such file; autoencoder.name and autoencoder.sub", str(folder))
    config, weights = (folder / "vae" / name for name in ("config.json", "other.safetensors"))
    described = json.loads(config.read_text())
    for text, message in (
        ("{", "config.json: damaged"),
        ("[]", "config.json: damaged"),
        (json.dumps({**described, "_class_name": "UNet2DModel"}), "describes no AutoencoderKL"),
        (json.dumps({**described, "norm_num_groups": 5}), "describes no AutoencoderKL: .*5"),
        (json.dumps({**described, "scaling_factor": "much"}), "describes no AutoencoderKL"),
        (json.dumps({**described, "latent_channels": 3}), "not the weights of its config.json"),
        (json.dumps({**described, "layers_per_block": 2}), "not the weights of its config.json"),
    ):
        config.write_text(text)
        fails(message, str(folder), "vae")
    config.write_text(json.dumps(described))
    path = weights.with_name("diffusion_pytorch_model.safetensors")
    path.write_bytes(path.read_bytes()[:5000])
    fails("not the weights of its config.json", str(folder), "vae")
    path.unlink()
    (folder / "vae/diffusion_pytorch_model.bin").write_bytes(b"a pickle")
    fails(r"model.safetensors: no such file; .*\(pickles are not loaded\)", str(folder), "vae")


def test_a_missing_package_is_named(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "diffusers", None)
    fails(r"wants diffusers; `pip install -e '\.\[pretrained\]'`", str(saved), "vae")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the hub, and no network."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


@pytest.mark.drill("Network", "offline, with a pretrained autoencoder chosen", "one line says how")
def test_without_a_network_the_message_says_so(hub: Path) -> None:
    fails(
        r"autoencoder.name: somebody/something is no folder here and cannot be fetched .*network",
        "somebody/something",
        "vae",
    )
    fails("is no folder here and cannot be fetched", "models/no/such/folder")


@pytest.mark.drill("Network", "offline, with one that was fetched before", "it is used")
def test_what_was_fetched_once_needs_no_network(saved: Path, hub: Path) -> None:
    commit = "0" * 40
    kept = hub / "models--somebody--something"
    shutil.copytree(saved, kept / "snapshots" / commit)
    (kept / "refs").mkdir()
    (kept / "refs/main").write_text(commit)
    model = fetch("somebody/something", "vae")
    assert model.origin.name == "somebody/something"
    torch.testing.assert_close(ours(model), theirs(library_model()), atol=1e-6, rtol=1e-6)


def test_damaged_descriptions_are_named(saved: Path, tmp_path: Path) -> None:
    autoencoder.save(fetch(str(saved), "vae"), tmp_path)
    path = tmp_path / "autoencoder.json"
    record = json.loads(path.read_text())
    assert record["kind"] == "pretrained" and record["origin"]["sha256"]
    path.write_text(json.dumps({**record, "config": {**record["config"], "norm_num_groups": 5}}))
    with pytest.raises(LockstepError, match="describes no AutoencoderKL"):
        autoencoder.load(tmp_path)
    path.write_text(json.dumps({**record, "origin": {}}))
    with pytest.raises(LockstepError, match=r"autoencoder.json: pretrained.origin.name: "):
        autoencoder.load(tmp_path)
    path.write_text(json.dumps(record))
    autoencoder.save(KLAutoencoder(KLConfig()), tmp_path)
    path.write_text(json.dumps(record))
    with pytest.raises(LockstepError, match="not this model's weights"):
        autoencoder.load(tmp_path)
