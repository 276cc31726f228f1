"""What sampling begins from: an image and noise, or noise between that of two seeds."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

import tiny_models
from lockstep.core.errors import LockstepError
from lockstep.diffusion import ImageNoise, NoiseSchedule, StepInfo
from lockstep.models.conditions import Conditions
from lockstep.sampling.beginning import Edit, between
from lockstep.sampling.sample import Trained, load, sample

SHAPE = (3, 16, 16)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return load(tiny_models.save(tmp_path_factory.mktemp("made") / "model", prediction="v"), "ema")


@pytest.fixture(scope="module")
def latent(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return load(
        tiny_models.save(tmp_path_factory.mktemp("made") / "model", latents="kl", prediction="v"),
        "ema",
    )


def image() -> Tensor:
    return torch.rand(SHAPE, generator=torch.Generator().manual_seed(5)) * 2 - 1


def edited(trained: Trained, strength: float, count: int = 2, **changes: object) -> Tensor:
    settings = tiny_models.sample(steps=20, **changes)
    edit = Edit(image(), strength)
    return sample(trained, settings, Conditions.none(count), seed=0, edit=edit)


@pytest.mark.parametrize("sampler", ["ddim", "ddpm", "dpmpp_2m", "euler", "heun"])
def test_the_weaker_the_nearer(trained: Trained, sampler: str) -> None:
    far = [
        float((edited(trained, strength, sampler=sampler) - image()).square().mean())
        for strength in (0.05, 0.4, 1.0)
    ]
    assert far[0] < 0.1 * far[2] and far[0] < far[1] < 1.2 * far[2]


def test_each_image_has_noise_of_its_own_whatever_the_batch(trained: Trained) -> None:
    together, apart = edited(trained, 0.5, 3), edited(trained, 0.5, 3, batch_size=1)
    assert torch.allclose(together, apart, atol=1e-5)
    assert not torch.allclose(together[0], together[1], atol=1e-2)


def test_of_a_latent_model_the_latent_is_noised(latent: Trained) -> None:
    found = edited(latent, 0.05)
    through = latent.autoencoder.decode(latent.autoencoder.encode(image()[None]))
    all_new = edited(latent, 1.0)
    assert float((found - through).norm()) < 0.5 * float((all_new - through).norm())


@pytest.mark.parametrize("strength", [0.2, 1.0])
def test_it_begins_as_noisy_as_its_first_level(trained: Trained, strength: float) -> None:
    seen: list[StepInfo] = []
    edit, settings = Edit(image(), strength), tiny_models.sample(steps=20)
    sample(trained, settings, Conditions.none(2), seed=3, edit=edit, callback=seen.append)
    assert seen[0].t == round(100 * strength) - 1
    noise = ImageNoise(3, [0, 1], SHAPE)()
    x0 = image().expand(2, *SHAPE)
    expected = trained.description.schedule.add_noise(x0, noise, torch.tensor(seen[0].t))
    torch.testing.assert_close(seen[0].x.cpu(), expected, rtol=0, atol=1e-6)


def test_the_levels_left() -> None:
    settings, schedule = tiny_models.sample(steps=20), NoiseSchedule("linear", 1000)
    for strength, first, count in [(1.0, 999, 20), (0.6, 599, 12), (0.05, 49, 1), (0.08, 49, 1)]:
        levels = Edit(image(), strength).levels(schedule, settings)
        assert (levels[0], len(levels)) == (first, count)
    with pytest.raises(LockstepError, match=r"strength: 0.04 is below the last of 20 steps; give"):
        Edit(image(), 0.04).levels(schedule, settings)
    linspace = dataclasses.replace(settings, spacing="linspace")
    assert Edit(image(), 1e-9).levels(schedule, linspace) == [0]


@pytest.mark.parametrize("sampler", ["dpmpp_2m", "ddpm"])
def test_the_way_between_two_seeds_ends_in_their_images(trained: Trained, sampler: str) -> None:
    settings = tiny_models.sample(sampler=sampler, steps=6, batch_size=2)
    noise_of = between(3, 7, 5, SHAPE)
    found = sample(trained, settings, Conditions.none(5), seed=3, noise_of=noise_of)
    for place, seed in ((0, 3), (-1, 7)):
        alone = sample(trained, settings, Conditions.none(1), seed=seed)[0]
        assert torch.allclose(found[place], alone, atol=1e-5)
    steps = (found[1:] - found[:-1]).flatten(1).norm(dim=1)
    assert float(steps.max()) < float((found[0] - found[-1]).norm())
