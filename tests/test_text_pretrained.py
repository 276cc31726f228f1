"""The text half of a CLIP, and CLIP scores: a tiny CLIP of random weights, saved as real ones."""

from __future__ import annotations

import json
import logging
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import tiny_clip
from lockstep.core import hashing
from lockstep.core.errors import LockstepError
from lockstep.evaluation import clip_score
from lockstep.models.text import FrozenText, pretrained
from tiny_clip import LENGTH, WIDTH

PROMPTS = ["a red cube", "", "the blue sphere, left of 😀 紅", "red " * 500]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as that of openai/clip-vit-base-patch32: both halves, tokeniser, processor."""
    folder = tmp_path_factory.mktemp("clip")
    tiny_clip.save(folder)
    return folder


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    """One to damage."""
    return Path(shutil.copytree(whole, tmp_path / "clip"))


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (5, 24, 32, 3), np.uint8)


def test_the_contexts_are_those_that_diffusers_computes(whole: Path) -> None:
    import transformers as library
    from diffusers import StableDiffusionPipeline

    tokenizer = library.CLIPTokenizer.from_pretrained(whole, model_max_length=LENGTH)
    text = library.CLIPTextModel.from_pretrained(whole)
    pipeline = StableDiffusionPipeline(
        None, text, tokenizer, None, None, None, None, requires_safety_checker=False
    )
    expected, _ = pipeline.encode_prompt(PROMPTS, "cpu", 1, do_classifier_free_guidance=False)
    found = pretrained.load(whole).encode(PROMPTS, batch_size=3)
    assert found.dtype == torch.float32
    assert found.shape == (4, LENGTH, WIDTH)
    assert torch.allclose(found, expected, atol=1e-5)
    assert found.flatten(1).any(dim=1).all()
    assert not torch.allclose(found[0], found[2], atol=0.1)


def test_a_prompt_that_is_too_long_keeps_its_end(whole: Path) -> None:
    clip = pretrained.load(str(whole))
    assert (clip.length, clip.width) == (LENGTH, WIDTH)
    ids = pretrained.token_ids(clip.tokenizer, PROMPTS, LENGTH)
    end = clip.tokenizer.eos_token_id
    red = clip.tokenizer.convert_tokens_to_ids("red</w>")
    assert ids.shape == (4, LENGTH)
    assert ids[3].tolist() == [0, *[red] * (LENGTH - 2), end]
    assert ids[1].tolist() == [0, *[end] * (LENGTH - 1)]
    assert clip.cut(["red " * 500, "red " * (LENGTH - 2), ""]) == [500 - (LENGTH - 2), 0, 0]


def test_any_text_is_encoded(whole: Path) -> None:
    clip = pretrained.load(whole)
    assert clip.encode([]).shape == (0, LENGTH, WIDTH)
    odd = clip.encode(["\ud83d", "\0", "\n", "<|endoftext|>", "é" * 9])
    assert torch.isfinite(odd).all()
    together, apart = clip.encode(PROMPTS), clip.encode(PROMPTS, batch_size=1)
    assert torch.equal(clip.encode(PROMPTS), together)
    assert torch.allclose(apart, together, atol=1e-6)


def test_nothing_of_it_is_trained(whole: Path) -> None:
    clip = pretrained.load(whole)
    assert not clip.model.training
    assert not any(p.requires_grad for p in clip.model.parameters())
    assert all(p.dtype == torch.float32 for p in clip.model.parameters())
    contexts = clip.encode(["red"])
    assert not contexts.requires_grad
    attending = torch.nn.Linear(WIDTH, 3)
    attending(contexts).sum().backward()  # what is trained may use them
    assert attending.weight.grad is not None


@pytest.mark.parametrize("prefix", ["", "text_model."])
def test_a_text_half_alone_will_do(whole: Path, copy: Path, prefix: str) -> None:
    """Both as transformers 5 names its weights and as those before did, in half precision too."""
    config = json.loads((copy / "config.json").read_text())["text_config"]
    config |= {"model_type": "clip_text_model", "architectures": ["CLIPTextModel"]}
    config |= {"dtype": "float16"}
    (copy / "config.json").write_text(json.dumps(config))
    own = {
        prefix + name.removeprefix("text_model."): tensor.half()
        for name, tensor in load_file(copy / "model.safetensors").items()
        if name.startswith("text_model.")
    }
    save_file(own, copy / "model.safetensors", {"format": "pt"})
    found = pretrained.load(copy)
    assert all(p.dtype == torch.float32 for p in found.model.parameters())
    expected = pretrained.load(whole).encode(PROMPTS)
    assert torch.allclose(found.encode(PROMPTS), expected, atol=0.02)
    with pytest.raises(LockstepError, match="has no vision half, which CLIP scores want"):
        clip_score.load(copy)


def test_the_empty_prompt_makes_a_frozen_condition(whole: Path) -> None:
    contexts = pretrained.load(whole).encode(["", "a red cube"])
    frozen = FrozenText(contexts[0])
    dropped, mask = frozen(contexts.flip(0)[[0, 0]], torch.tensor([False, True]))
    assert torch.equal(dropped, contexts)
    assert mask.all()


def test_loading_says_nothing_of_the_vision_half(whole: Path) -> None:
    import transformers as library

    said: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())

    logger, listener = logging.getLogger("transformers"), Listener()
    logger.addHandler(listener)
    try:
        library.CLIPTextModel.from_pretrained(whole)
        assert "vision_model" in said.pop()
        before = library.logging.get_verbosity()
        pretrained.load(whole)
        assert said == []
        assert library.logging.get_verbosity() == before
    finally:
        logger.removeHandler(listener)


def line_of(source: str | Path, load: Any = pretrained.load) -> str:
    """The message of the error, which is one line that names the source."""
    with pytest.raises(LockstepError) as caught:
        load(source)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{source}: ")
    return message


def test_another_model_is_not_taken(copy: Path) -> None:
    (copy / "config.json").write_text('{"model_type": "bert"}')
    assert "no CLIP text model (its kind is 'bert')" in line_of(copy)
    (copy / "config.json").write_text("{}")
    assert "no CLIP text model (its kind is None)" in line_of(copy)
    (copy / "config.json").write_text("{")
    assert "cannot read its config.json (" in line_of(copy)
    (copy / "config.json").unlink()
    assert "no CLIP text model (its kind is None)" in line_of(copy)
    assert "no CLIP text model (its kind is None)" in line_of(copy, clip_score.load)


def test_a_pickle_is_not_opened(copy: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (copy / "opened",)

    (copy / "model.safetensors").unlink()
    torch.save({"weights": Trap()}, copy / "pytorch_model.bin")
    message = line_of(copy)
    assert "no file named model.safetensors" in message
    assert "as save_pretrained writes it, with model.safetensors" in message
    assert not (copy / "opened").exists()


def test_damaged_weights_are_said(copy: Path) -> None:
    path = copy / "model.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    assert "cannot read its model.safetensors (" in line_of(copy)
    path.write_bytes(whole)
    tensors = load_file(path)
    lost = tensors.pop("text_model.final_layer_norm.weight")
    save_file(tensors, path, {"format": "pt"})
    assert "its weights lack final_layer_norm.weight (1 in all)" in line_of(copy)
    tensors["text_model.final_layer_norm.weight"] = torch.cat((lost, lost))
    save_file(tensors, path, {"format": "pt"})
    assert "cannot read its model.safetensors (" in line_of(copy)


def test_a_missing_tokeniser_is_said(copy: Path) -> None:
    files = "tokenizer.json (or vocab.json and merges.txt)"
    (copy / "merges.txt").unlink()
    assert f"writes it, with {files}" in line_of(copy)
    (copy / "vocab.json").unlink()
    assert f"has no tokeniser; put {files} there" in line_of(copy)
    assert f"has no tokeniser; put {files} there" in line_of(copy, clip_score.load)
    (copy / "tokenizer.json").write_text("{")
    assert "cannot read its tokenizer.json" in line_of(copy)


def test_another_models_tokeniser_is_said(copy: Path) -> None:
    path = copy / "vocab.json"
    vocabulary = json.loads(path.read_text())
    path.write_text(json.dumps({**vocabulary, "more</w>": len(vocabulary)}))
    message = line_of(copy)
    assert f"ids up to {len(vocabulary)}, the model {len(vocabulary)} words" in message


def test_a_folder_that_has_changed_is_said(copy: Path) -> None:
    """In other words for who trains with it and for who has a model that was trained with it."""
    before = hashing.sha256(copy)
    trained = {"text.encoder": str(copy), "text.encoder_sha256": before}
    assert pretrained.trained_with(trained).width == pretrained.given(str(copy), before).width
    (copy / "README.md").write_text("new")
    with pytest.raises(LockstepError, match=r"text\.encoder is not what params\.yaml says; run"):
        pretrained.given(str(copy), before)
    with pytest.raises(LockstepError, match=rf"changed since .* SHA-256 {before}, or run"):
        pretrained.trained_with(trained)


@pytest.mark.drill("Network", "offline, with a pretrained text encoder chosen", "one line says how")
def test_a_name_wants_a_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    for source in ("openai/clip-vit-base-patch32", str(tmp_path / "nowhere"), "a/b/c"):
        message = line_of(source)
        assert "no folder, and no CLIP whose config.json can be fetched" in message
        assert "where there is a network, or give the folder of a copy" in message


def test_a_missing_package_is_said(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(LockstepError, match=r"pip install -e '\.\[pretrained\]'"):
        pretrained.load(whole)
    with pytest.raises(LockstepError, match=r"pip install -e '\.\[pretrained\]'"):
        clip_score.load(whole)


def test_the_score_is_a_hundred_times_the_cosine(whole: Path, images: np.ndarray) -> None:
    import transformers as library

    prompts = [*PROMPTS, "cyan"]
    model = library.CLIPModel.from_pretrained(whole).eval()
    tokens = library.CLIPTokenizer.from_pretrained(whole)(
        prompts, padding=True, truncation=True, max_length=LENGTH, return_tensors="pt"
    )
    pixels = library.CLIPImageProcessor.from_pretrained(whole)(list(images), return_tensors="pt")
    with torch.no_grad():
        answer = model(**tokens, **pixels)
        logits = answer.logits_per_image.diagonal() / model.logit_scale.exp()
    expected = 100 * logits.clamp(min=0)
    assert 0 < (expected > 0).sum() < 5  # both sides of the bend
    found = clip_score.load(whole).scores(images, prompts, batch_size=2)
    assert found == pytest.approx(expected.numpy(), abs=1e-3)
    assert found.shape == (5,)


def test_a_score_wants_a_prompt_for_each_image(whole: Path, images: np.ndarray) -> None:
    clip = clip_score.load(whole)
    for some, prompts in ((images, ["red"]), (images[:0], [])):
        with pytest.raises(LockstepError, match="give a prompt for each image, and one image"):
            clip.scores(some, prompts)


def test_a_missing_processor_is_said(copy: Path) -> None:
    (copy / "preprocessor_config.json").unlink()
    message = line_of(copy, clip_score.load)
    assert "cannot read its preprocessor_config.json (" in message
