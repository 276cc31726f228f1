from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lockstep.config.schema import Sample
from lockstep.core.device import device, place
from lockstep.core.errors import LockstepError
from lockstep.core.weights import save_weights
from lockstep.diffusion import ImageNoise
from lockstep.models import generator
from lockstep.models.build import noise_schedule
from lockstep.models.conditions import Conditions
from lockstep.models.generator import Description, Generator
from lockstep.sampling.sample import (
    Trained,
    denoising_strips,
    frames,
    load,
    moments,
    sample,
    sample_by_batches,
)
from tiny import tiny_params


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Path, Generator, Description]:
    params = tiny_params()
    torch.manual_seed(0)
    description = Description(
        unet=params.model.unet(),
        condition="classes",
        labels=3,
        size=16,
        schedule=noise_schedule(params.diffusion),
        prediction="v",
        precision="fp32",
        fingerprint="0" * 64,
        params=params.values("model"),
    )
    model = place(description.build()).eval()
    weights = model.state_dict()
    generator.save(tmp_path, description, {"ema": weights, "last": weights})
    return tmp_path, model, description


def settings(**changes: object) -> Sample:
    values = {
        "weights": "ema", "sampler": "ddim", "steps": 4, "spacing": "trailing", "eta": 0.0,
        "variance": "fixed_small", "clip": 1.0, "guidance_scale": 2.0, "guidance_interval": None,
        "guidance_rescale": 0.0, "guidance_weights": None,
        "classifier_scale": 0.0, "classifier_interval": None,
        "batch_size": 3, "count": 2, "strip": 4, "seeds": (0,), "processes": 1, **changes,
    }  # fmt: skip
    return Sample(**values)  # type: ignore[arg-type]


def test_the_folder_rebuilds_the_model(saved) -> None:
    folder, model, description = saved
    loaded, found = generator.load(folder, "ema")
    assert found.unet == description.unet
    assert found.schedule == description.schedule
    x, t = torch.randn(2, 3, 16, 16), torch.tensor([3, 900])
    labels = Conditions.of(torch.eye(3)[:2])
    assert torch.equal(loaded(x, t, labels), model(x, t, labels))


def test_unconditional_is_the_zero_vector_before_the_embedding(saved) -> None:
    _, model, _ = saved
    x, t = torch.randn(1, 3, 16, 16), torch.tensor([5])
    said = Conditions.of(torch.eye(3)[:1])
    zero = model(x, t, said.null())
    assert torch.equal(zero, model.unet(x, t, model.embedding(torch.zeros(1, 3))))
    assert not torch.equal(zero, model(x, t, said))


def test_damage_is_said(saved) -> None:
    folder, _, _ = saved
    weights = folder / "ema.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-10])
    with pytest.raises(LockstepError, match=r"ema.safetensors: damaged"):
        generator.load(folder, "ema")
    weights.unlink()
    with pytest.raises(LockstepError, match=r"ema.safetensors: missing"):
        generator.load(folder, "ema")
    weights.write_bytes(whole)

    description = json.loads((folder / "model.json").read_text())
    wider = {**description, "unet": {**description["unet"], "channels": [8, 32]}}
    (folder / "model.json").write_text(json.dumps(wider))
    with pytest.raises(LockstepError, match=r"not this model's weights: .* is \(.*expected \("):
        generator.load(folder, "ema")
    deeper = {**description, "unet": {**description["unet"], "layers_per_block": 2}}
    (folder / "model.json").write_text(json.dumps(deeper))
    with pytest.raises(LockstepError, match=r"it lacks unet\..* missing, 0 unknown"):
        generator.load(folder, "ema")
    (folder / "model.json").write_text("{")
    with pytest.raises(LockstepError, match=r"model.json: damaged"):
        generator.load(folder, "ema")
    (folder / "model.json").unlink()
    with pytest.raises(LockstepError, match=r"model.json: missing; `dvc repro`"):
        generator.load(folder, "ema")


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("reduction", 0, "reduction: Input should be greater than or equal to 1"),
        ("reduction", 32, "size is 16: the networks take multiples of"),
        ("size", 0, "size: Input should be greater"),
        ("size", 17, "size is 17: the networks"),
        ("labels", -1, "labels: Input should be greater"),
        ("text", {"context_length": 0, "context_width": 8}, "text"),
        ("text", {"context_length": 4, "context_width": 8}, "unet has no cross-attention"),
        ("pooled_text", True, "pooled_text is true, without a text"),
        ("unet", [], "unet"),
    ],
    ids=str,
)
def test_a_description_of_no_model_is_one_line(saved, key: str, value: object, said: str) -> None:
    path = saved[0] / "model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    with pytest.raises(LockstepError, match=rf"model.json: .*{said}.*; train again$") as refused:
        generator.load(saved[0], "ema")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"sampler": "ddpm"},
        {"sampler": "dpmpp_2m"},
        {"sampler": "euler"},
        {"sampler": "heun", "guidance_rescale": 0.5},
        {"eta": 1.0},
    ],
    ids=str,
)
def test_an_image_does_not_depend_on_its_batch(saved, changes) -> None:
    trained = Trained(*saved[1:])
    labels = Conditions.of(torch.eye(3).repeat(2, 1))
    together = sample(trained, settings(batch_size=6, **changes), labels, seed=1)
    apart = sample(trained, settings(batch_size=1, **changes), labels, seed=1)
    assert torch.allclose(together, apart, atol=1e-5)
    some = sample(trained, settings(**changes), labels[4:], seed=1, indices=[4, 5])
    assert torch.allclose(together[4:], some, atol=1e-5)
    other = sample(trained, settings(**changes), labels, seed=2)
    assert not torch.allclose(together, other, atol=1e-2)


def test_guidance_acts(saved) -> None:
    trained = Trained(*saved[1:])
    labels = Conditions.of(torch.eye(3))
    one = sample(trained, settings(guidance_scale=1.0), labels, seed=0)
    four = sample(trained, settings(guidance_scale=4.0), labels, seed=0)
    assert not torch.allclose(one, four, atol=1e-4)


def test_rescaled_guidance_is_nearer_to_none(saved) -> None:
    trained, labels = Trained(*saved[1:]), Conditions.of(torch.eye(3))
    one, eight, rescaled = (
        sample(trained, settings(guidance_scale=scale, guidance_rescale=rescale), labels, seed=0)
        for scale, rescale in [(1.0, 0.0), (8.0, 0.0), (8.0, 1.0)]
    )
    assert float(rescaled.std()) < float(eight.std())
    assert not torch.allclose(one, rescaled, atol=1e-4)


@pytest.mark.parametrize("condition", ["classes", "none"])
def test_other_weights_guide(saved, condition: str) -> None:
    """Of the same condition, and without one too."""
    _, model, description = saved
    labels = Conditions.of(torch.eye(3))
    if condition == "none":
        description = dataclasses.replace(description, condition="none", labels=0)
        labels = Conditions.none(3)
    torch.manual_seed(0)
    model, worse = (place(description.build()).eval() for _ in range(2))
    plain = Trained(model, description)
    alone = sample(plain, settings(guidance_scale=1.0), labels, seed=0)
    for scale, guide, same in [(3.0, model, True), (1.0, worse, True), (3.0, worse, False)]:
        trained = dataclasses.replace(plain, guide=guide)
        guided = sample(trained, settings(guidance_scale=scale), labels, seed=0)
        assert torch.allclose(guided, alone, atol=1e-4) == same
    # Away from the worse one: what it alone draws is farther.
    badly = sample(Trained(worse, description), settings(guidance_scale=1.0), labels, seed=0)
    assert float((guided - badly).norm()) > float((alone - badly).norm())


def test_guiding_weights_are_read_from_the_folder(saved) -> None:
    folder, model, _ = saved
    worse = {name: 0.5 * tensor for name, tensor in model.state_dict().items()}
    save_weights(worse, folder / "step_100.safetensors")
    trained = load(folder, "ema", 100)
    assert trained.guide is not None and load(folder, "ema").guide is None
    for name, tensor in trained.guide.state_dict().items():
        assert torch.equal(tensor.cpu(), worse[name].cpu())
    with pytest.raises(LockstepError, match=r"step_200.safetensors: missing"):
        load(folder, "ema", 200)


def test_the_strip_goes_from_noise_to_the_image(saved) -> None:
    trained = Trained(*saved[1:])
    labels = Conditions.of(torch.eye(3)[:1])
    (strip,) = denoising_strips(trained, settings(steps=8, strip=5), labels, seed=0)
    assert strip.shape == (5, 3, 16, 16)
    final = sample(trained, settings(steps=8), labels, seed=0)
    assert torch.equal(strip[-1:], final)
    noise = ImageNoise(0, [0], (3, 16, 16), device())()
    assert torch.equal(strip[:1], noise.cpu().clamp(-1, 1))


def test_more_states_than_there_are_is_all_of_them(saved) -> None:
    trained = Trained(*saved[1:])
    strips = denoising_strips(trained, settings(strip=9), Conditions.of(torch.eye(3)), seed=0)
    assert strips.shape == (3, 5, 3, 16, 16)
    states: list[torch.Tensor] = []
    sample(
        trained,
        settings(),
        Conditions.of(torch.eye(3)),
        seed=0,
        callback=lambda info: states.append(info.x.clamp(-1, 1)),
    )
    assert torch.equal(strips[:, :-1], torch.stack(states, dim=1))


@pytest.mark.parametrize("batch_size", [2, 3])
def test_several_strips_are_those_of_the_images(saved, batch_size: int) -> None:
    trained = Trained(*saved[1:])
    labels, some = Conditions.of(torch.eye(3)), settings(strip=3, batch_size=batch_size)
    strips = denoising_strips(trained, some, labels, seed=0)
    assert strips.shape == (3, 3, 3, 16, 16)
    assert torch.equal(strips[:, -1], sample(trained, some, labels, seed=0))
    first = denoising_strips(trained, some, labels[:1], seed=0)
    assert torch.allclose(strips[:1], first, atol=1e-5)


@given(steps=st.integers(1, 1000), strip=st.integers(2, 60))
def test_the_frames_have_the_strips_moments(steps: int, strip: int) -> None:
    shown, chosen = frames(settings(steps=steps, strip=strip)), moments(steps, strip)
    assert set(chosen) <= set(shown)
    assert (shown[0], shown[-1]) == (chosen[0], chosen[-1]) == (0, steps)
    assert shown == sorted(set(shown))
    assert len(chosen) == min(strip, steps + 1)
    if steps >= 18 and strip <= 10:
        assert 10 < len(shown) < 20


def test_batch_by_batch_the_images_are_the_same(saved) -> None:
    trained = Trained(*saved[1:])
    labels = Conditions.of(torch.eye(3).repeat(3, 1)[:8])
    found = list(sample_by_batches(trained, settings(), labels, seed=1))
    assert [(first, len(drawn)) for first, drawn in found] == [(0, 3), (3, 3), (6, 2)]
    whole = sample(trained, settings(), labels, seed=1)
    assert torch.equal(torch.cat([drawn for _, drawn in found]), whole)


def test_a_model_without_labels_draws_too(saved) -> None:
    _, _, description = saved
    torch.manual_seed(0)
    unconditional = dataclasses.replace(description, condition="none", labels=0)
    trained = Trained(place(unconditional.build()).eval(), unconditional)
    assert not any(name.startswith("embedding") for name in trained.model.state_dict())
    labels = Conditions.none(4)
    images = sample(trained, settings(guidance_scale=4.0), labels, seed=0)
    assert images.shape == (4, 3, 16, 16)
    assert not torch.allclose(images[0], images[1], atol=1e-2)
