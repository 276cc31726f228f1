from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from lockstep.config.schema import Params
from lockstep.core import hashing
from lockstep.core.errors import LockstepError
from lockstep.core.images import write_png
from lockstep.data.dataset import Dataset
from lockstep.evaluation import reference
from lockstep.evaluation.space import Space
from odd_files import huge_png
from tiny import tiny_dataset, tiny_params

RNG = np.random.default_rng(0)


def batches(rows: np.ndarray, size: int = 100) -> Iterator[np.ndarray]:
    return (rows[start : start + size] for start in range(0, len(rows), size))


def test_what_is_seen_comes_back(tmp_path: Path) -> None:
    rows = RNG.standard_normal((250, 6)).astype(np.float32)
    seen = reference.statistics_of(batches(rows))
    reference.save(tmp_path / "one.npz", seen)
    again = reference.load(tmp_path / "one.npz")
    assert again.count == 250
    assert np.array_equal(again.features, rows)
    assert np.array_equal(again.normal.mean, seen.normal.mean)
    assert again.normal.covariance == pytest.approx(np.cov(rows, rowvar=False))
    reference.save(tmp_path / "two.npz", seen)
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()


def test_of_many_the_moments_are_of_all_and_the_features_of_the_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reference, "KEPT", 120)
    rows = RNG.standard_normal((250, 3)).astype(np.float32)
    seen = reference.statistics_of(batches(rows))
    assert seen.count == 250
    assert seen.normal.mean == pytest.approx(rows.mean(0, dtype=np.float64))
    assert np.array_equal(seen.features, rows[:120])


def test_others_statistics_and_what_is_none(tmp_path: Path) -> None:
    path = tmp_path / "clean.npz"
    np.savez(path, mu=np.zeros(3), sigma=np.eye(3))
    seen = reference.load(path)
    assert seen.features.shape == (0, 3)
    assert seen.count == 0
    np.savez(path, mu=np.zeros(3))
    with pytest.raises(LockstepError, match=r"clean.npz: no statistics with mu and sigma"):
        reference.load(path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(LockstepError, match=r"clean.npz: no statistics"):
        reference.load(path)
    np.savez(path, mu=np.zeros(3), sigma=np.eye(4))
    with pytest.raises(LockstepError, match="do not fit each other"):
        reference.load(path)
    np.savez(path, mu=np.full(3, np.nan), sigma=np.eye(3))
    with pytest.raises(LockstepError, match="has a NaN"):
        reference.load(path)


@pytest.fixture
def data(tmp_path: Path) -> Dataset:
    return tiny_dataset(tmp_path / "data")


def naming(path: str, sha256: str | None = None, count: int | None = None) -> Params:
    params = tiny_params()
    evaluate = dataclasses.replace(
        params.evaluate, reference=path, reference_sha256=sha256, reference_count=count
    )
    return dataclasses.replace(params, evaluate=evaluate)


def test_the_images_trained_on(data: Dataset) -> None:
    indices = data.indices("train")
    everything = reference.images(naming("train"), data)
    assert np.array_equal(everything[:], data.images[indices])
    some = reference.images(naming("train", count=5), data)
    assert len(some) == 5
    assert np.array_equal(some[1:3], data.images[indices[1:3]])
    assert np.array_equal(some[4], data.images[indices[4]])


def test_a_folder_of_any_images(data: Dataset, tmp_path: Path) -> None:
    folder = tmp_path / "others"
    small = RNG.integers(0, 256, (16, 16, 3)).astype(np.uint8)
    write_png(folder / "b" / "small.png", small)
    cv2.imwrite(str(folder / "a.jpg"), np.full((40, 60, 3), 200, np.uint8))
    (folder / "notes.txt").write_text("no image")
    params = naming(str(folder), hashing.sha256(folder))
    found = reference.images(params, data)
    assert found[:].shape == (2, 16, 16, 3)
    assert np.abs(found[0].astype(int) - 200).max() < 4
    assert np.array_equal(found[1], small)
    for name in ("c", "d"):
        write_png(folder / f"{name}.png", small)
    some = reference.images(naming(str(folder), hashing.sha256(folder), 2), data)
    assert np.array_equal(some[:], np.stack([found[0], small]))  # not the first two: spread

    write_png(folder / "e.png", small)
    with pytest.raises(LockstepError, match=r"lockstep add evaluate\.reference"):
        reference.images(params, data)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(LockstepError, match=r"empty: evaluate.reference: no images in it"):
        reference.images(naming(str(empty), hashing.sha256(empty)), data)


def test_a_folders_images_are_read_as_collecting_reads_them(data: Dataset, tmp_path: Path) -> None:
    folder = tmp_path / "others"
    folder.mkdir()
    upright = RNG.integers(0, 256, (16, 16, 3)).astype(np.uint8)
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(np.ascontiguousarray(np.rot90(upright))).save(folder / "a.png", exif=turned)
    clear = np.dstack([upright, np.zeros((16, 16), np.uint8)])
    Image.fromarray(clear).save(folder / "b.tiff")
    Image.fromarray(np.full((16, 16), 200 * 256, np.uint16)).save(folder / "c.png")
    (folder / "._a.png").write_bytes(b"of the system")
    (folder / "__MACOSX").mkdir()
    (folder / "__MACOSX/a.png").write_bytes(b"of the system")
    (folder / "d.png").mkdir()
    found = reference.images(naming(str(folder), hashing.sha256(folder)), data)
    grey = np.full((16, 16, 3), 200, np.uint8)
    assert np.array_equal(found[:], np.stack([upright, np.full_like(upright, 255), grey]))

    (folder / "e.png").write_bytes(huge_png(20_000, 20_000))
    found = reference.images(naming(str(folder), hashing.sha256(folder)), data)
    with pytest.raises(LockstepError, match=r"e\.png: .*more pixels than 178,956,970\)$"):
        found[:]


def one_of(size: int) -> Space:
    """Features that are the mean colour, and zeros up to `size`."""

    def embed(batches):
        for batch in batches:
            found = np.zeros((len(batch), size), np.float32)
            found[:, :3] = batch.mean((1, 2))
            yield found

    return Space("colour", "fd_colour", embed, batch=7)


def test_what_a_space_is_compared_with(data: Dataset, tmp_path: Path) -> None:
    training = data.images[data.indices("train")].mean((1, 2), dtype=np.float64)
    held_out = data.images[data.indices("validation")].mean((1, 2), dtype=np.float64)

    (seen,) = reference.of_space(naming("train"), data, one_of(3)).items()
    assert seen[0] == "colour"
    assert seen[1].features == pytest.approx(training, rel=1e-5)

    found = reference.of_space(naming("validation"), data, one_of(3))
    assert sorted(found) == ["colour", "colour_training"]
    assert found["colour"].normal.mean == pytest.approx(held_out.mean(0), rel=1e-5)
    assert found["colour_training"].features == pytest.approx(training, rel=1e-5)

    path = tmp_path / "published.npz"
    np.savez(path, mu=np.ones(3), sigma=np.eye(3))
    params = naming(str(path), hashing.sha256(path))
    found = reference.of_space(params, data, one_of(3))
    assert found["colour"].normal.mean.tolist() == [1, 1, 1]
    assert len(found["colour_training"].features) == len(training)
    # With Inception there, its statistics they are; the own space gets the training images.
    fid = dataclasses.replace(params, evaluate=dataclasses.replace(params.evaluate, fid=True))
    (only,) = reference.of_space(fid, data, one_of(3)).values()
    assert only.features == pytest.approx(training, rel=1e-5)
    inception = dataclasses.replace(one_of(3), frechet="fid")
    assert reference.of_space(fid, data, inception)["colour"].count == 0
    # Beside the own space those of evaluate.spaces get the training images as well.
    more = dataclasses.replace(params.evaluate, spaces=("imagenet",))
    both = dataclasses.replace(params, evaluate=more)
    (only,) = reference.of_space(
        both, data, dataclasses.replace(one_of(3), name="imagenet")
    ).items()
    assert only[0] == "imagenet" and len(only[1].features) == len(training)
    assert reference.of_space(both, data, one_of(3))["colour"].count == 0
    reference.check(params, data)
    with pytest.raises(LockstepError, match=r"has no hash in params\.yaml"):
        reference.check(naming(str(path)), data)


def test_nothing_held_out_is_no_reference(tmp_path: Path) -> None:
    data = tiny_dataset(tmp_path / "few", count=6)
    with pytest.raises(LockstepError, match=r"raise dataset\.validation"):
        reference.images(naming("validation"), data)
