from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep.core.errors import LockstepError
from lockstep.data import dataset

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (9, 8, 8, 3), np.uint8)
CONDITIONS = RNG.integers(0, 2, (9, 24), np.uint8)
SPLIT = np.array([0, 0, 0, 1, 1, 2, 2, 2, 3], np.uint8)


def test_what_goes_in_comes_out_mapped(tmp_path: Path) -> None:
    summary = dataset.pack(tmp_path, iter(IMAGES), CONDITIONS, SPLIT, {}, mirrorable=False)
    found = dataset.open_dataset(tmp_path)
    assert isinstance(found.images, np.memmap)
    assert np.array_equal(found.images, IMAGES)
    assert np.array_equal(found.conditions, CONDITIONS)
    assert list(found.indices("evaluator_train")) == [5, 6, 7]
    assert summary["train"] == 3
    assert found.digest == summary["digest"]


def test_the_digest_sees_one_pixel(tmp_path: Path) -> None:
    first = dataset.pack(tmp_path, iter(IMAGES), CONDITIONS, SPLIT, {}, mirrorable=False)
    other = IMAGES.copy()
    other[4, 3, 2, 1] ^= 1
    assert (
        dataset.pack(tmp_path, iter(other), CONDITIONS, SPLIT, {}, mirrorable=False)["digest"]
        != first["digest"]
    )


def test_images_of_two_sizes_are_refused(tmp_path: Path) -> None:
    mixed = [IMAGES[0], np.zeros((4, 4, 3), np.uint8)]
    with pytest.raises(LockstepError, match="images of"):
        dataset.pack(tmp_path, iter(mixed), CONDITIONS[:2], SPLIT[:2], {}, mirrorable=False)


def test_nothing_to_train_on_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LockstepError, match="no image is left to train on"):
        dataset.pack(
            tmp_path, iter(IMAGES), CONDITIONS, np.full(9, 1, np.uint8), {}, mirrorable=False
        )


def test_no_images_at_all_are_refused(tmp_path: Path) -> None:
    with pytest.raises(LockstepError, match="dataset: no images were collected; collect some"):
        dataset.pack(tmp_path, iter([]), CONDITIONS[:0], SPLIT[:0], {}, mirrorable=True)


def test_other_arrays_than_were_packed_are_refused(tmp_path: Path) -> None:
    dataset.pack(tmp_path, iter(IMAGES), CONDITIONS, SPLIT, {}, mirrorable=True)
    dataset.open_dataset(tmp_path).verify()
    np.save(tmp_path / "conditions.npy", 1 - CONDITIONS)
    with pytest.raises(LockstepError, match="its arrays are not those that were packed"):
        dataset.open_dataset(tmp_path).verify()


@pytest.mark.parametrize("how", ["in place", "replaced"])
def test_a_folder_that_is_written_to_is_noticed(tmp_path: Path, how: str) -> None:
    dataset.pack(tmp_path, iter(IMAGES), CONDITIONS, SPLIT, {}, mirrorable=True)
    found = dataset.open_dataset(tmp_path)
    assert found.mirrorable
    found.check_unchanged()
    path = tmp_path / "conditions.npy"
    if how == "in place":
        with path.open("r+b") as file:
            file.seek(130)
            file.write(b"\1")
    else:
        (tmp_path / "new").write_bytes(path.read_bytes())
        (tmp_path / "new").replace(path)
    with pytest.raises(LockstepError, match="changed while it was read; `dvc repro` begins again"):
        found.check_unchanged()


def test_a_damaged_folder_is_refused(tmp_path: Path) -> None:
    dataset.pack(tmp_path, iter(IMAGES), CONDITIONS, SPLIT, {}, mirrorable=False)
    (tmp_path / "split.npy").unlink()
    with pytest.raises(LockstepError, match="not a whole data set"):
        dataset.open_dataset(tmp_path)


@given(st.lists(st.text(), min_size=1, max_size=30, unique=True), st.integers(0, 99), st.randoms())
def test_a_group_is_in_one_split_whatever_stands_beside_it(names, seed, random) -> None:
    shares = {"validation": 0.2, "evaluator": 0.3, "seed": seed}
    whole = dict(zip(names, dataset.split_of_groups(names, **shares), strict=True))
    doubled = names + names
    random.shuffle(doubled)
    some = doubled[: len(names)]
    for name, split in zip(some, dataset.split_of_groups(some, **shares), strict=True):
        assert split == whole[name]


def test_the_shares_are_kept() -> None:
    names = [f"scene_{i}" for i in range(20_000)]
    split = dataset.split_of_groups(names, validation=0.1, evaluator=0.4, seed=1)
    shares = np.bincount(split, minlength=4) / len(names)
    # Four standard deviations of a share of 20,000.
    assert np.allclose(shares, [0.5, 0.1, 0.36, 0.04], atol=0.015)
    assert (dataset.split_of_groups(names, validation=0.0, evaluator=0.0, seed=1) == 0).all()


def test_a_class_without_an_image_to_learn_from_is_named() -> None:
    conditions = np.eye(2, dtype=np.uint8)[[0, 0, 1, 1]]
    split = np.array([dataset.SPLITS.index(n) for n in ("train", "evaluator_train") * 2], np.uint8)
    dataset.check_classes(conditions, split, ["cat", "dog"])
    for place in (0, 1):
        wrong = split.copy()
        wrong[place] = dataset.SPLITS.index("validation")
        with pytest.raises(LockstepError, match=r"no image of the class 'cat' is in the split"):
            dataset.check_classes(conditions, wrong, ["cat", "dog"])
