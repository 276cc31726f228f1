from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from skimage.metrics import peak_signal_noise_ratio
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from lockstep.core.errors import LockstepError
from lockstep.core.files import read_json, write_json
from lockstep.core.pixels import to_bytes, to_tensor
from lockstep.data import dataset, encode
from lockstep.data.encode import encode_all
from lockstep.models import autoencoder
from lockstep.models.autoencoder import KLAutoencoder, KLConfig, Pixels
from lockstep.models.autoencoder.kl import Posterior
from lockstep.training.autoencoder import (
    begin_linear,
    psnr,
    reconstruction_loss,
    reconstruction_psnr,
    train,
)
from tiny import same_bytes, tiny_dataset

SMALL = KLConfig(channels=(16, 32), norm_groups=8)


@dataclass(frozen=True)
class Settings:
    lr: float = 3e-3
    steps: int = 4
    batch_size: int = 8
    kl_weight: float = 1e-6
    seed: int = 0


def discs(count: int, size: int = 32) -> NDArray[np.uint8]:
    """A disc of some colour, somewhere before a floor that grows darker."""
    rng = np.random.default_rng(1)
    rows, columns = np.mgrid[:size, :size]
    floor = np.broadcast_to((200 - 80 * rows / size)[None, :, :, None], (count, size, size, 3))
    centre = rng.uniform(0.3, 0.7, (2, count, 1, 1)) * size
    inside = (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 < (0.2 * size) ** 2
    colour = rng.uniform(0, 255, (count, 1, 1, 3))
    return np.where(inside[..., None], colour, floor).astype(np.uint8)


def trained(
    images: NDArray[np.uint8],
    chosen: Settings | None = None,
    config: KLConfig = SMALL,
    log: list[dict[str, float]] | None = None,
) -> KLAutoencoder:
    positions = np.arange(len(images))
    return train(
        images,
        positions,
        config,
        chosen or Settings(),
        "fp32",
        lambda items, total: items,
        None if log is None else lambda step, row: log.append({"step": step, **row}),
    )


def untrained(config: KLConfig = SMALL) -> KLAutoencoder:
    """With layers that do not add nothing."""
    torch.manual_seed(0)
    model = KLAutoencoder(config).eval()
    for layer in (model.encoder.conv_out, model.decoder.conv_out):
        layer.reset_parameters()
    return model


def test_it_begins_as_the_best_linear_autoencoder_of_patches() -> None:
    images = to_tensor(discs(12))
    model = KLAutoencoder(SMALL)
    begin_linear(model, images)
    patches = F.pixel_unshuffle(images, 4).movedim(1, 3).reshape(-1, 48)
    # Eckart & Young 1936: nothing of rank 4 is nearer than the four largest singular values.
    u, singular, v = torch.linalg.svd(patches - patches.mean(0), full_matrices=False)
    expected = patches.mean(0) + u[:, :4] * singular[:4] @ v[:4]
    with torch.no_grad():
        means = model.posterior(images).mean
        found = F.pixel_unshuffle(model.reconstruct(means), 4).movedim(1, 3).reshape(-1, 48)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    torch.testing.assert_close(means.std((0, 2, 3)), torch.ones(4), atol=1e-3, rtol=0)


def test_images_of_one_colour_begin_without_dividing_by_nothing() -> None:
    model = KLAutoencoder(SMALL)
    images = torch.full((2, 3, 16, 16), 0.25)
    begin_linear(model, images)
    torch.testing.assert_close(model.decode(model.encode(images)), images)


@pytest.mark.long
def test_it_learns_to_keep_images() -> None:
    images, rows = discs(48), []
    begun, unseen = KLAutoencoder(SMALL), np.arange(32, 48)
    begin_linear(begun, to_tensor(images[:32]))
    model = trained(images[:32], Settings(steps=100), log=rows)
    assert [row["step"] for row in rows] == [50, 100]
    assert rows[-1]["loss"] < 0.8 * rows[0]["loss"]
    before, after = (reconstruction_psnr(one, images, unseen) for one in (begun, model))
    assert before > 5 + reconstruction_psnr(untrained(), images, unseen)
    assert after > 1.5 + before


def test_latents_have_mean_0_and_variance_1() -> None:
    images = discs(40)
    latents = trained(images).encode(to_tensor(images))
    torch.testing.assert_close(latents.mean((0, 2, 3)), torch.zeros(4), atol=1e-4, rtol=0)
    torch.testing.assert_close(latents.std((0, 2, 3)), torch.ones(4), atol=1e-4, rtol=0)


def test_a_training_repeats_to_the_bit_and_leaves_the_random_numbers_alone() -> None:
    images = discs(16)
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    one = trained(images).state_dict()
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(4)
    assert same_bytes(one, trained(images).state_dict())
    assert not same_bytes(one, trained(images, Settings(seed=1)).state_dict())


def test_only_the_images_at_the_positions_are_learnt_from() -> None:
    images, others = discs(24), discs(24)
    others[1::2] = 0
    even = np.arange(0, 24, 2)
    models = [
        train(each, even, SMALL, Settings(steps=2), "fp32", lambda items, total: items)
        for each in (images, others)
    ]
    assert same_bytes(*(model.state_dict() for model in models))


def test_bf16_trains_fp32_weights() -> None:
    images, positions = discs(16), np.arange(16)
    models = [
        train(images, positions, SMALL, Settings(), precision, lambda items, total: items)
        for precision in ("fp32", "bf16")
    ]
    assert {value.dtype for value in models[1].state_dict().values()} == {torch.float32}
    assert not same_bytes(*(model.state_dict() for model in models))
    psnrs = [reconstruction_psnr(model, images, positions) for model in models]
    assert psnrs[1] == pytest.approx(psnrs[0], abs=0.5)


def test_the_divergence_weighs_against_the_sum_over_a_image() -> None:
    images = discs(8)
    first = {}
    for weight in (0.0, 2.0):
        rows: list[dict[str, float]] = []
        trained(images, Settings(steps=1, kl_weight=weight), log=rows)
        first[weight] = rows[0]
    assert first[0.0]["kl"] == first[2.0]["kl"] > 0
    added = first[2.0]["loss"] - first[0.0]["loss"]
    assert added == pytest.approx(2 * first[0.0]["kl"] / images[0].size, rel=1e-4)


def test_the_divergence_is_that_of_torch() -> None:
    torch.manual_seed(0)
    mean, log_variance = torch.randn(2, 3, 4, 5, 6)
    theirs = kl_divergence(Normal(mean, (0.5 * log_variance).exp()), Normal(0.0, 1.0))
    torch.testing.assert_close(Posterior(mean, log_variance).kl(), theirs.sum((1, 2, 3)))


def test_samples_have_the_posteriors_mean_and_deviation() -> None:
    posterior = Posterior(torch.full((1, 2, 100, 100), 3.0), torch.full((1, 2, 100, 100), -2.0))
    noise = torch.randn(1, 2, 100, 100, generator=torch.Generator().manual_seed(0))
    sample = posterior.sample(noise)
    assert sample.mean().item() == pytest.approx(3, abs=0.02)
    assert sample.std().item() == pytest.approx(np.exp(-1), rel=0.03)
    assert torch.equal(posterior.sample(torch.zeros_like(noise)), posterior.mean)


def test_the_loss_weighs_absolute_and_squared_errors() -> None:
    images = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    error = torch.tensor([0.1, -0.3]).view(2, 1, 1, 1)
    found = reconstruction_loss(images, images + error)
    assert found.item() == pytest.approx(0.2 + 5 * (0.01 + 0.09) / 2, rel=1e-4)
    assert reconstruction_loss(images, images) == 0


def test_signal_to_noise_is_scikit_images() -> None:
    rng = np.random.default_rng(0)
    images, others = rng.uniform(-1, 1, (2, 3, 3, 10, 12))
    theirs = [
        peak_signal_noise_ratio(a, b, data_range=2) for a, b in zip(images, others, strict=True)
    ]
    ours = psnr(torch.from_numpy(images), torch.from_numpy(others))
    assert ours.tolist() == pytest.approx(theirs, rel=1e-9)
    # Nothing is lost: a large number, which a file of metrics can have.
    nothing = torch.zeros(1, 3, 4, 4)
    assert psnr(nothing, nothing).item() == pytest.approx(106.02, abs=0.01)


def test_the_psnr_of_a_set_is_the_mean_over_its_images_in_any_batches() -> None:
    images, model = discs(10), untrained()
    whole = to_tensor(images[2:])
    expected = psnr(whole, model.decode(model.encode(whole))).mean().item()
    for batch_size in (3, 8, 100):
        found = reconstruction_psnr(model, images, np.arange(2, 10), batch_size)
        assert found == pytest.approx(expected, abs=1e-4)


@settings(max_examples=25, deadline=None)
@given(
    levels=st.integers(1, 3),
    patch=st.integers(1, 3),
    channels=st.integers(1, 5),
    blocks=st.integers(1, 2),
    height=st.integers(1, 3),
    width=st.integers(1, 3),
    batch=st.integers(1, 2),
)
def test_shapes(
    levels: int, patch: int, channels: int, blocks: int, height: int, width: int, batch: int
) -> None:
    config = KLConfig(
        channels=(4, 8, 4)[:levels],
        latent_channels=channels,
        layers_per_block=blocks,
        patch=patch,
        norm_groups=2,
    )
    model = untrained(config=config)
    assert (model.channels, model.reduction) == (channels, patch * 2 ** (levels - 1))
    images = torch.rand(batch, 3, height * model.reduction, width * model.reduction) * 2 - 1
    latents = model.encode(images)
    assert latents.shape == (batch, channels, height, width)
    decoded = model.decode(100 * latents)
    assert decoded.shape == images.shape
    assert decoded.min() >= -1 and decoded.max() <= 1
    assert not latents.requires_grad and not decoded.requires_grad


def test_decoding_undoes_the_normalisation_of_encoding() -> None:
    model, images = untrained(), to_tensor(discs(3))
    model.mean.copy_(torch.tensor([1.0, -2.0, 0.5, 0.0]))
    model.deviation.copy_(torch.tensor([0.1, 5.0, 1.0, 2.0]))
    with torch.no_grad():
        mean = model.posterior(images).mean
        expected = model.reconstruct(mean).clamp(-1, 1)
    latents = model.encode(images)
    torch.testing.assert_close(latents[:, 1], (mean[:, 1] + 2) / 5)
    torch.testing.assert_close(model.decode(latents), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"channels": ()}, r"KLConfig.channels is \(\): give one width a level"),
        ({"channels": (16, 20)}, "give positive multiples of norm_groups = 8"),
        ({"channels": (0,)}, "give positive multiples"),
        ({"latent_channels": 0}, "KLConfig.latent_channels is 0: give a whole number"),
        ({"latent_channels": 4.5}, "latent_channels is 4.5"),
        ({"layers_per_block": 0}, "layers_per_block is 0"),
        ({"patch": 0}, "patch is 0"),
        ({"norm_groups": -1}, "norm_groups is -1"),
        ({"norm_eps": 0.0}, "norm_eps is 0.0: give a small number"),
    ],
)
def test_impossible_networks_are_refused(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(SMALL, **changes)


def test_images_that_cannot_be_reduced_are_refused() -> None:
    with pytest.raises(ValueError, match="images are 32 x 30 pixels: give multiples of 4"):
        untrained().encode(torch.zeros(1, 3, 32, 30))
    with pytest.raises(LockstepError, match=r"images of 30 x 30 pixels .* set autoencoder.patch"):
        trained(discs(8, size=30))


def test_too_few_images_for_a_batch_are_refused() -> None:
    with pytest.raises(LockstepError, match=r"autoencoder.batch_size: 8 is more than the 5 images"):
        trained(discs(5))


def test_a_training_that_goes_wrong_says_where() -> None:
    with pytest.raises(LockstepError, match=r"loss is (nan|inf) at step \d+; lower autoencoder.lr"):
        trained(discs(8), Settings(lr=1e30, steps=12))


def test_pixels_are_their_own_latents() -> None:
    none = Pixels()
    images = torch.linspace(-1.5, 1.5, 2 * 3 * 4 * 4).view(2, 3, 4, 4)
    assert (none.channels, none.reduction) == (3, 1)
    assert torch.equal(none.encode(images), images)
    assert torch.equal(none.decode(images), images.clamp(-1, 1))


def every_byte() -> NDArray[np.uint8]:
    return (
        np.arange(2 * 256 * 3, dtype=np.uint32)
        .astype(np.uint8)
        .reshape(6, 16, 16, 1)[..., [0, 0, 0]]
    )


def test_pixels_come_back_to_the_byte() -> None:
    images = every_byte()
    assert len(np.unique(images)) == 256
    latents = np.concatenate(list(encode_all(Pixels(), images, 4)))
    assert latents.dtype == np.float16
    decoded = Pixels().decode(torch.from_numpy(latents).float())
    assert np.array_equal(to_bytes(decoded), images)


@pytest.mark.parametrize("count", [1, 130])  # the second process has nothing, or the last batch
def test_two_processes_encode_what_one_does(count: int, tmp_path: Path) -> None:
    images, split = discs(count), np.zeros(count, np.uint8)
    for name in ("data", "autoencoder", "alone", "shared"):
        (tmp_path / name).mkdir()
    none = np.zeros((count, 0), np.uint8)
    dataset.pack(tmp_path / "data", iter(images), none, split, {}, mirrorable=True)
    made = untrained()
    autoencoder.save(made, tmp_path / "autoencoder")
    data = dataset.open_dataset(tmp_path / "data")
    encode.write_latents(tmp_path / "alone", made, data, lambda batches, _: batches)

    program = Path(__file__).with_name("encode_tiny.py")
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *launcher, str(program), str(tmp_path)]
    subprocess.run(command, check=True, env=environment, timeout=180)
    alone, shared = (np.load(tmp_path / name / "latents.npy") for name in ("alone", "shared"))
    assert alone.dtype == np.float16 and alone.shape == (count, 4, 8, 8)
    assert alone.std() > 0.1
    assert np.allclose(alone, shared, atol=2e-3)


def test_pixels_are_written_nowhere(tmp_path: Path) -> None:
    data = tiny_dataset(tmp_path / "data")
    encode.write_latents(tmp_path, Pixels(), data, lambda batches, _: batches)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_whole_sets_are_coded_in_order_from_the_disk(tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", discs(7))
    images = np.load(tmp_path / "images.npy", mmap_mode="r")
    model = untrained()
    batches = list(encode_all(model, images, 3))
    assert [batch.shape for batch in batches] == [(3, 4, 8, 8), (3, 4, 8, 8), (1, 4, 8, 8)]
    np.save(tmp_path / "latents.npy", np.concatenate(batches))
    latents = np.load(tmp_path / "latents.npy", mmap_mode="r")
    expected = model.encode(to_tensor(np.array(images)))
    np.testing.assert_allclose(latents, expected, atol=1e-3, rtol=1e-3)
    decoded = to_bytes(model.decode(torch.from_numpy(latents.astype(np.float32))))
    assert decoded.shape == images.shape and decoded.dtype == np.uint8
    direct = (model.decode(expected) + 1) * 127.5
    assert np.abs(decoded - direct.permute(0, 2, 3, 1).numpy()).max() < 2
    assert list(encode_all(model, images[:0])) == []


class _Counting(Pixels):
    def encode(self, images: Tensor) -> Tensor:
        asked.append(len(images))
        return images


asked: list[int] = []


def test_no_batch_is_coded_before_it_is_wanted() -> None:
    asked.clear()
    batches = encode_all(_Counting(), every_byte(), 2)
    assert asked == []
    next(batches)
    assert asked == [2]


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    images = discs(8)
    model = trained(images)
    autoencoder.save(model, tmp_path)
    assert read_json(tmp_path / "autoencoder.json")["kind"] == "kl"
    loaded = autoencoder.load(tmp_path)
    assert isinstance(loaded, KLAutoencoder) and loaded.config == SMALL and not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    assert same_bytes(model.state_dict(), loaded.state_dict())
    batch = to_tensor(images)
    assert torch.equal(loaded.encode(batch), model.encode(batch))
    latents = model.encode(batch)
    assert torch.equal(loaded.decode(latents), model.decode(latents))


def test_saving_repeats_to_the_byte(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        autoencoder.save(untrained(), tmp_path / name)
    for file in ("autoencoder.json", "autoencoder.safetensors"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "other" / file).read_bytes()


def test_pixels_need_no_weights(tmp_path: Path) -> None:
    autoencoder.save(Pixels(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["autoencoder.json"]
    assert json.loads((tmp_path / "autoencoder.json").read_text()) == {"kind": "pixels"}
    assert autoencoder.load(tmp_path) == Pixels()


def test_damaged_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(LockstepError, match=r"autoencoder.json: missing; `dvc repro` makes it"):
        autoencoder.load(tmp_path)
    path = tmp_path / "autoencoder.json"
    for text, message in (
        ("{", "damaged"),
        ("[]", r"autoencoder.json: .*dvc checkout"),
        ("{}", "'kind'"),
        ('{"kind": "vq"}', "'kind'.*'pixels', 'kl', 'pretrained'"),
        ('{"kind": "kl"}', "kl.config: Field required"),
        ('{"kind": "kl", "config": {"channels": [12], "norm_groups": 8}}', "multiples of norm_gr"),
        ('{"kind": "kl", "config": {"patch": "two"}}', "kl.config.patch: "),
    ):
        path.write_text(text)
        with pytest.raises(LockstepError, match=message) as caught:
            autoencoder.load(tmp_path)
        assert len(str(caught.value).splitlines()) == 1
    autoencoder.save(untrained(), tmp_path)
    weights = tmp_path / "autoencoder.safetensors"
    autoencoder.save(untrained(config=replace(SMALL, latent_channels=3)), tmp_path)
    write_json(path, {"kind": "kl", "config": {"channels": [16, 32]}})
    with pytest.raises(LockstepError, match=r"not this model's weights: \S+ is \(3,\), expected"):
        autoencoder.load(tmp_path)
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(LockstepError, match=r"autoencoder.safetensors: damaged"):
        autoencoder.load(tmp_path)
    weights.unlink()
    with pytest.raises(LockstepError, match=r"autoencoder.safetensors: missing"):
        autoencoder.load(tmp_path)
