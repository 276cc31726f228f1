"""The FID's network: its loading and its features, on a stand-in of the same form."""

from __future__ import annotations

import dataclasses
import pwd
from pathlib import Path

import numpy as np
import pytest
import torch
from cleanfid import fid as clean
from cleanfid.inception_torchscript import InceptionV3W

from lockstep.config.schema import Params
from lockstep.core import download, hashing
from lockstep.core.errors import LockstepError
from lockstep.core.images import write_png
from lockstep.evaluation import inception, spaces
from tiny import beside_classifier, tiny_params

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.* is deprecated")
NAME = "inception-2015-12-05.pt"


class Layers(torch.nn.Module):
    """(B, 3, 299, 299) -> (B, 2048), fixed at random."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = torch.nn.AdaptiveAvgPool2d(9)
        self.linear = torch.nn.Linear(243, 2048)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(self.pool(x).flatten(1))


class Network(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = Layers()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


@pytest.fixture
def stand_in(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    path = tmp_path / "weights" / NAME
    path.parent.mkdir()
    torch.jit.script(Network()).save(str(path))
    return path


def asking(**evaluate: object) -> Params:
    params = tiny_params()
    changed = dataclasses.replace(params.evaluate, fid=True, **evaluate)
    return dataclasses.replace(params, evaluate=changed)


@pytest.fixture
def published(stand_in: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The stand-in, as if it were the network that everybody uses."""
    known = dataclasses.replace(download.FILES["inception"], sha256=hashing.sha256(stand_in))
    monkeypatch.setitem(download.FILES, "inception", known)
    return stand_in


def test_features_are_those_of_clean_fid(published: Path, tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (7, 64, 64, 3)).astype(np.uint8)
    for i, image in enumerate(images):
        write_png(tmp_path / "images" / f"{i}.png", image)
    expected = clean.get_folder_features(
        str(tmp_path / "images"),
        model=InceptionV3W(str(published.parent), download=False),
        num_workers=0,
        device=torch.device("cpu"),
        mode="clean",
        verbose=False,
    )
    params = asking(inception=str(published), inception_sha256=hashing.sha256(published))
    space = spaces.inception_space(params)
    assert (space.name, space.frechet) == ("inception", "fid")
    found = list(dataclasses.replace(space, batch=3).features(images))
    assert [rows.shape for rows in found] == [(3, 2048), (3, 2048), (1, 2048)]
    assert np.concatenate(found) == pytest.approx(expected, abs=1e-4)
    # A process whose share of a batch is empty.
    (nothing,) = space.embed([images[:0]])
    assert nothing.shape == (0, 2048)


def test_it_is_fetched_where_no_file_is_named(
    published: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LOCKSTEP_CACHE", str(published.parent))
    assert inception.weights(asking()) == published
    monkeypatch.setenv("LOCKSTEP_CACHE", str(tmp_path / "empty"))
    nowhere = dataclasses.replace(download.FILES["inception"], url="http://127.0.0.1:9/none.pt")
    monkeypatch.setitem(download.FILES, "inception", nowhere)
    with pytest.raises(LockstepError, match="where there is a network, or put the file at"):
        inception.weights(asking())


def test_who_has_no_home_is_told_where_to_say_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A number without a name, as in a container."""

    def unknown(number: int) -> None:
        raise KeyError(number)

    for name in ("LOCKSTEP_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    with pytest.raises(LockstepError, match=r"^LOCKSTEP_CACHE: not set, and this user has no home"):
        download.cache()


def test_another_network_is_no_fid(stand_in: Path, tmp_path: Path) -> None:
    digest = hashing.sha256(stand_in)
    with pytest.raises(LockstepError, match="not the network of the FID, whose SHA-256 is f58cb9"):
        inception.weights(asking(inception=str(stand_in), inception_sha256=digest))
    with pytest.raises(LockstepError, match=r"lockstep add evaluate\.inception"):
        inception.weights(asking(inception=str(stand_in), inception_sha256="0" * 64))


def test_another_file_is_not_taken(stand_in: Path, tmp_path: Path) -> None:
    with pytest.raises(LockstepError, match=f"rename it to {NAME}"):
        inception.load(stand_in.rename(tmp_path / "mine.pt"))
    (tmp_path / NAME).write_bytes(b"no network")
    with pytest.raises(LockstepError, match=r"not the Inception network \("):
        inception.load(tmp_path / NAME)


def test_it_stands_beside_the_workloads_own(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = beside_classifier(tmp_path)
    monkeypatch.chdir(tmp_path)
    digest = hashing.sha256(published)
    both = spaces.spaces_of(asking(inception=str(published), inception_sha256=digest), data)
    assert [space.frechet for space in both] == ["fd_classifier", "fid"]
    (own,) = spaces.spaces_of(tiny_params(), data)
    (features,) = own.features(np.array(data.images[:5]))
    assert features.shape == (5, 512)
    assert list(own.features(data.images[:0])) == []
