"""Noise per image: the same in every batch, and no two images alike."""

import pytest
import torch

from lockstep.diffusion import ImageNoise, InterpolatedNoise, slerp
from lockstep.diffusion.noise import stream_seed

SHAPE = (3, 5, 4)


def draw(indices: list[int], calls: int = 3, seed: int = 0) -> torch.Tensor:
    """(calls, B, C, H, W)"""
    noise = ImageNoise(seed, indices, SHAPE)
    return torch.stack([noise() for _ in range(calls)])


def test_a_image_is_the_same_bytes_in_any_batch() -> None:
    together = draw([0, 1, 2, 3, 4, 5, 6])
    alone = torch.cat([draw([i]) for i in range(7)], dim=1)
    shuffled = draw([6, 2, 0])
    assert together.numpy().tobytes() == alone.numpy().tobytes()
    assert torch.equal(shuffled, together[:, [6, 2, 0]])


def test_calls_images_and_seeds_differ() -> None:
    noise = draw([0, 1, 2**32 - 1]).flatten(0, 1)
    assert len({image.numpy().tobytes() for image in noise}) == 9
    assert not torch.equal(draw([0], seed=0), draw([0], seed=1))
    # seed + index would make these two the same image
    assert not torch.equal(draw([1], seed=0), draw([0], seed=1))


def test_seeds_beyond_32_bits_count() -> None:
    # which torch.Generator's do not, on the CPU:
    low, high = (torch.Generator().manual_seed(s) for s in (5, 5 + 2**32))
    assert torch.equal(torch.randn(16, generator=low), torch.randn(16, generator=high))
    assert not torch.equal(draw([0], seed=5), draw([0], seed=5 + 2**32))


def test_no_two_images_of_a_run_share_a_stream() -> None:
    # among 200,000 hashes of 32 bits about five pairs would be alike
    assert len({stream_seed(7, index) for index in range(200_000)}) == 200_000


def test_it_is_standard_normal() -> None:
    noise = ImageNoise(3, range(64), (1, 32, 32))()
    assert noise.shape == (64, 1, 32, 32) and noise.dtype == torch.float32
    assert abs(float(noise.mean())) < 0.02 and abs(float(noise.std()) - 1) < 0.02
    # images are not correlated with their neighbours
    images = noise.flatten(1)
    assert abs(float((images[1:] * images[:-1]).mean())) < 0.02


def test_slerp_ends_in_its_ends_and_keeps_the_norm() -> None:
    one, other = draw([0, 1, 2], calls=1)[0], draw([0, 1, 2], calls=1, seed=1)[0]
    between = slerp(one, other, torch.tensor([0.0, 0.5, 1.0]))
    assert torch.equal(between[0], one[0]) and torch.equal(between[2], other[2])
    unit = one / one.flatten(1).norm(dim=1).reshape(-1, 1, 1, 1)
    other_unit = other / other.flatten(1).norm(dim=1).reshape(-1, 1, 1, 1)
    for fraction in (0.0, 0.25, 0.7):
        some = slerp(unit, other_unit, torch.full((3,), fraction))
        torch.testing.assert_close(some.flatten(1).norm(dim=1), torch.ones(3))
        angles = [(some * end).flatten(1).sum(1).clamp(-1, 1).acos() for end in (unit, other_unit)]
        whole = (unit * other_unit).flatten(1).sum(1).clamp(-1, 1).acos()
        torch.testing.assert_close(angles[0], fraction * whole, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(sum(angles), whole, rtol=1e-3, atol=1e-3)


def test_slerp_of_noise_with_itself_is_that_noise() -> None:
    one = draw([0, 1], calls=1)[0]
    torch.testing.assert_close(slerp(one, one, torch.tensor([0.3, 0.5])), one)
    opposite = slerp(one, -one, torch.tensor([0.5, 0.5]))
    assert bool(opposite.isfinite().all())


def test_interpolated_noise_goes_from_one_stream_to_the_other_in_every_call() -> None:
    first, second = ImageNoise(3, [0] * 3, SHAPE), ImageNoise(7, [0] * 3, SHAPE)
    noise = InterpolatedNoise(first, second, [0.0, 0.5, 1.0])
    found = torch.stack([noise() for _ in range(2)])
    assert torch.equal(found[:, 0], draw([0], calls=2, seed=3)[:, 0])
    assert torch.equal(found[:, 2], draw([0], calls=2, seed=7)[:, 0])
    assert not torch.equal(found[0, 1], found[1, 1])


def test_dtype_and_the_empty_batch() -> None:
    assert ImageNoise(0, [0], SHAPE, dtype=torch.float64)().dtype == torch.float64
    assert ImageNoise(0, [], SHAPE)().shape == (0, *SHAPE)


@pytest.mark.parametrize("index", [-1, 2**32])
def test_refuses_an_index_out_of_range(index: int) -> None:
    with pytest.raises(ValueError, match=f"indices: {index} is out of range; use 0 to 4294967295"):
        ImageNoise(0, [index], SHAPE)
