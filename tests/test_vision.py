"""DINOv2 and CLIP as feature spaces: small random networks of the same classes."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

import tiny_clip
from lockstep.core import hashing
from lockstep.core.errors import LockstepError
from lockstep.evaluation import reference, spaces, vision
from lockstep.evaluation.distances import in_space
from tiny import beside_classifier, tiny_params

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (5, 16, 16, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def dino(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as that of facebook/dinov2-large."""
    import transformers

    torch.manual_seed(0)
    config = transformers.Dinov2Config(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, image_size=28, patch_size=14
    )
    folder = tmp_path_factory.mktemp("networks") / "dinov2"
    transformers.Dinov2Model(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("networks") / "clip"
    tiny_clip.save(folder)
    return folder


def test_dinov2_sees_what_fd_dinov2_shows_it(dino: Path) -> None:
    """Pillow's bicubic to 224 x 224, ImageNet's mean and deviation; the class token."""
    import transformers

    network = vision.dinov2(str(dino), hashing.sha256(dino))
    with torch.inference_mode():
        found = network.features(IMAGES)
        model = transformers.Dinov2Model.from_pretrained(dino)
        resized = [
            np.asarray(Image.fromarray(one).resize((224, 224), Image.Resampling.BICUBIC))
            for one in IMAGES
        ]
        pixels = (np.stack(resized) / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
        expected = model(torch.from_numpy(pixels).float().permute(0, 3, 1, 2)).last_hidden_state
    assert found.shape == (5, network.dimensions) == (5, 16)
    # Pillow rounds to bytes; networks of random weights hardly tell images apart.
    assert (found - expected[:, 0]).abs().max() < 0.05 * found.std(0).max()


def test_clip_sees_what_cmmd_shows_it(clip: Path) -> None:
    """torch's bicubic to the network's size, as it comes out; CLIP's own mean and deviation."""
    import transformers

    network = vision.clip(str(clip), hashing.sha256(clip))
    with torch.inference_mode():
        found = network.features(IMAGES)
        model = transformers.CLIPModel.from_pretrained(clip)
        processor = transformers.CLIPImageProcessor.from_pretrained(clip)
        pixels = torch.from_numpy(IMAGES / 255).float().permute(0, 3, 1, 2)
        resized = F.interpolate(pixels, (tiny_clip.SIDE, tiny_clip.SIDE), mode="bicubic")
        mean, std = (torch.tensor(of) for of in (processor.image_mean, processor.image_std))
        normal = (resized - mean.view(3, 1, 1)) / std.view(3, 1, 1)
        expected = model.visual_projection(model.vision_model(normal).pooler_output)
    assert found.shape == (5, network.dimensions) == (5, 8)
    torch.testing.assert_close(found, expected)


def test_they_stand_beside_the_workloads_own(
    dino: Path, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = beside_classifier(tmp_path)
    monkeypatch.chdir(tmp_path)
    params = tiny_params()
    asked = dataclasses.replace(
        params.evaluate,
        spaces=("clip", "dinov2"),
        dinov2=str(dino),
        dinov2_sha256=hashing.sha256(dino),
        clip=str(clip),
        clip_sha256=hashing.sha256(clip),
    )
    _, *more = spaces.spaces_of(dataclasses.replace(params, evaluate=asked), data)
    images = RNG.integers(0, 256, (60, 16, 16, 3)).astype(np.uint8)
    for space, names in zip(more, ({"fd_clip", "cmmd"}, {"fd_dinov2"}), strict=True):
        ours, theirs = (
            reference.statistics_of(space.features(half)) for half in (images[:40], images[40:])
        )
        found = in_space(space, ours, theirs, theirs, 5)
        assert found.keys() >= names | {f"{name}_se" for name in names}
        assert ("cmmd" in found) == (space.name == "clip")
        (nothing,) = space.embed([images[:0]])
        assert nothing.shape == (0, ours.features.shape[1])


@pytest.mark.parametrize("name", ["dinov2", "clip"])
def test_what_is_wrong_with_a_folder_is_one_line(
    name: str, dino: Path, clip: Path, tmp_path: Path
) -> None:
    load, right, wrong = {
        "dinov2": (vision.dinov2, dino, clip),
        "clip": (vision.clip, clip, dino),
    }[name]

    def said(folder: Path, sha256: str | None) -> str:
        with pytest.raises(LockstepError) as caught:
            load(str(folder), sha256)
        message = str(caught.value)
        assert "\n" not in message
        return message

    assert f"evaluate.{name} has no hash in params.yaml" in said(right, None)
    assert f"evaluate.{name} is not what params.yaml says" in said(right, "0" * 64)
    assert f"evaluate.{name}: " in said(wrong, hashing.sha256(wrong))
    empty = tmp_path / "empty"
    empty.mkdir()
    assert f"`lockstep add evaluate.{name} FOLDER`" in said(empty, hashing.sha256(empty))


def test_a_name_wants_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(LockstepError, match=r"nobody/nothing: evaluate.dinov2: cannot be read"):
        vision.dinov2("nobody/nothing", None)
