"""Animations, read back with Pillow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from lockstep.core.images import grid, write_animation
from lockstep.synthetic import heads


def way(count: int, images: int = 16, per_row: int = 4) -> NDArray[np.uint8]:
    """Grids (count, H, W, 3) of drawn heads out of noise."""
    clear = np.stack([heads.draw(0, number) for number in range(images)])
    rng = np.random.default_rng(0)
    return np.stack(
        [
            grid(_mixed(clear, rng.normal(127.5, 127.5, clear.shape), share), per_row)
            for share in np.linspace(0, 1, count)
        ]
    )


def _mixed(clear: NDArray[np.uint8], noise: NDArray[np.float64], share: float) -> NDArray[np.uint8]:
    return (share * clear + (1 - share) * noise).clip(0, 255).astype(np.uint8)


def read(path: Path) -> tuple[list[NDArray[np.uint8]], list[int], int]:
    """Its frames, for how many milliseconds each is shown, and how often all are (0: always)."""
    frames, lengths = [], []
    with Image.open(path) as gif:
        for number in range(gif.n_frames):
            gif.seek(number)
            frames.append(np.asarray(gif.convert("RGB")))
            lengths.append(gif.info["duration"])
        return frames, lengths, gif.info["loop"]


def test_it_goes_from_noise_to_the_images_and_stays_there(tmp_path: Path) -> None:
    shown = way(19)
    path = tmp_path / "new" / "way.gif"
    write_animation(path, shown, seconds=2.7)
    frames, lengths, loop = read(path)
    assert loop == 0
    assert lengths == [150] * 18 + [2000]
    assert path.stat().st_size < 2_000_000
    apart = []
    for frame, expected in zip(frames, shown, strict=True):
        large = expected.repeat(2, axis=0).repeat(2, axis=1)
        assert frame.shape == large.shape
        assert np.array_equal(frame, frame[::2, ::2].repeat(2, axis=0).repeat(2, axis=1))
        apart.append(np.abs(frame.astype(int) - large).mean())
    # Few colours of a noise are nearer to it than any other frame is; the last frame has many.
    near = [np.abs(f.astype(int) - frames[0]).mean() for f in frames[9:]]
    assert apart[0] < min(near)
    assert apart[-1] < 5
    assert len(np.unique(frames[-1].reshape(-1, 3), axis=0)) > 200


def test_the_same_images_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one.gif", "two.gif"):
        write_animation(tmp_path / name, way(3, images=2), seconds=1)
    assert (tmp_path / "one.gif").read_bytes() == (tmp_path / "two.gif").read_bytes()


@pytest.mark.parametrize("count", [1, 2])
def test_few_frames(tmp_path: Path, count: int) -> None:
    write_animation(tmp_path / "way.gif", way(2, images=1)[-count:], seconds=0.5)
    with Image.open(tmp_path / "way.gif") as gif:
        assert gif.n_frames == count
