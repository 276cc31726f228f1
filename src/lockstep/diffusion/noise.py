"""Noise that belongs to an image, not to its place in a batch; and noise between two others."""

import hashlib
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

_WORD = 0xFFFF_FFFF


class ImageNoise:
    """A stream of standard normal noise with one random stream per image.

    Each call returns the next (B, *shape) noise of the images `indices` (length B). Image i
    of a seed gets the same noise in any batch, in any order and on any device: it is drawn on the
    CPU by a generator of its own, then moved. The first call is usually x_T, the next ones the
    fresh noise of each step.

    The same bytes need the same torch and a CPU with AVX2 (or one without, both times): torch's
    two ways of computing a normal differ in the last bits.

    Parameters
    ----------
    seed
        Any int, the run's. Distinct seeds give unrelated streams.
    indices
        The images, ints in [0, 2**32); no two of them share a stream.
    shape
        Of one image, (C, H, W).
    dtype
        Drawn in this dtype: float64 noise is other noise, not float32 noise with more digits.

    Raises
    ------
    ValueError
        For an index out of range.
    """

    def __init__(
        self,
        seed: int,
        indices: Sequence[int],
        shape: Sequence[int],
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self._generators = [
            torch.Generator("cpu").manual_seed(stream_seed(seed, index)) for index in indices
        ]
        self._shape = tuple(shape)
        self._device = device
        self._dtype = dtype

    def __call__(self) -> Tensor:
        noises = [
            torch.randn(self._shape, generator=generator, dtype=self._dtype)
            for generator in self._generators
        ]
        empty = torch.empty((0, *self._shape), dtype=self._dtype)
        return (torch.stack(noises) if noises else empty).to(self._device)


class InterpolatedNoise:
    """Noise on the way from that of one stream to that of another.

    Each call takes the next noise of both and gives `slerp` of the two, so that samplers which add
    noise in each step change as smoothly as those that do not.

    Parameters
    ----------
    first, second
        () -> (B, ...).
    fractions
        How far each of the B images is on its way, 0 to 1.
    """

    def __init__(
        self,
        first: Callable[[], Tensor],
        second: Callable[[], Tensor],
        fractions: Sequence[float],
    ) -> None:
        self._first, self._second = first, second
        self._fractions = torch.tensor(fractions, dtype=torch.float64)

    def __call__(self) -> Tensor:
        return slerp(self._first(), self._second(), self._fractions)


def slerp(first: Tensor, second: Tensor, fractions: Tensor) -> Tensor:
    """Spherical interpolation of each image's noise, Shoemake 1985 (10.1145/325334.325242).

    The way along the great circle keeps the norm, which all of a normal distribution's mass in many
    dimensions has; on the straight line between two of its draws the middle is 0.7 times as long.

    Parameters
    ----------
    first, second
        (B, ...) noise.
    fractions
        (B,) in [0, 1]; 0 gives `first` and 1 `second`, to the bit.
    """
    one, other = (x.double().flatten(1) for x in (first, second))
    cosine = torch.nn.functional.cosine_similarity(one, other).clamp(-1, 1)
    angle, fractions = cosine.acos(), fractions.to(one)
    # Of parallel noise there is no circle; the straight line is the way.
    parallel = angle.sin() < 1e-6
    safe = torch.where(parallel, 1.0, angle)
    weights = (
        torch.where(parallel, part, (part * safe).sin() / safe.sin())
        for part in (1 - fractions, fractions)
    )
    shape = (-1,) + (1,) * (first.ndim - 1)
    on_first, on_second = (weight.to(first.dtype).reshape(shape) for weight in weights)
    return on_first * first + on_second * second


def stream_seed(seed: int, index: int) -> int:
    """The 32-bit generator seed of an image; for one `seed` distinct indices differ.

    torch's CPU generator uses only the low 32 bits of its seed. A hash of (seed, index) cut to
    that would give two of 50,000 images the same noise in one run out of four (the birthday
    bound), so the index goes through a keyed permutation of 32-bit words instead.
    """
    seed, index = int(seed), int(index)  # numpy's ints would overflow below
    if not 0 <= index <= _WORD:
        raise ValueError(f"indices: {index} is out of range; use 0 to {_WORD}")
    digest = hashlib.sha256(str(seed).encode()).digest()
    before, after = (int.from_bytes(digest[i : i + 4], "little") for i in (0, 4))
    return _mix(_mix(index ^ before) ^ after)


def _mix(word: int) -> int:
    """A permutation of 32-bit words: the finalizer of MurmurHash3 (Appleby), odd factors only."""
    word = (word ^ (word >> 16)) * 0x85EB_CA6B & _WORD
    word = (word ^ (word >> 13)) * 0xC2B2_AE35 & _WORD
    return word ^ (word >> 16)
