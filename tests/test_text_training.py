"""Latents and prompts instead of pixels and labels, from the packed arrays to an image."""

from __future__ import annotations

import dataclasses
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lockstep import cli
from lockstep.config.load import load_params, parse_params, read_yaml
from lockstep.config.schema import Params
from lockstep.core import paths
from lockstep.core.errors import LockstepError
from lockstep.core.images import read_rgb
from lockstep.core.pixels import to_bytes
from lockstep.core.weights import read_tensors, save_weights
from lockstep.data import captions, dataset
from lockstep.data.dataset import Dataset
from lockstep.models import autoencoder, build, generator
from lockstep.models.autoencoder import KLAutoencoder, KLConfig
from lockstep.models.build import noise_schedule
from lockstep.models.conditions import Conditions
from lockstep.models.generator import Description, FrozenConfig
from lockstep.models.text import FrozenText, ScratchConfig, pretrained, tokenizer
from lockstep.models.text.tokenizer import PADDING, UNKNOWN
from lockstep.sampling import preview
from lockstep.sampling.conditions import prompts
from lockstep.sampling.sample import Trained, denoising_strips, load, sample
from lockstep.training import batches, loop
from lockstep.training.checkpoint import Checkpoints
from lockstep.training.state import State, begin
from tiny import ROOT, same_bytes, tiny_params, weights_of

KINDS = ("words", "contexts")
PROMPTS = ["", "a bright image", "a dark image"]
TOKENIZER = tokenizer.build(PROMPTS, length=5)
MEANS = np.array([0.0, 1.0, -1.0], np.float32)  # of "", bright, dark
DRAWN = KLConfig(channels=(8, 8), norm_groups=4)  # 32 pixels are 8 latents


def rows_of(kind: str) -> np.ndarray:
    if kind == "words":
        return TOKENIZER.encode(PROMPTS)
    return np.random.default_rng(7).standard_normal((len(PROMPTS), 3, 12)).astype(np.float16)


def latents_of(numbers: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(1).standard_normal((len(numbers), 4, 8, 8), np.float32)
    return (MEANS[numbers][:, None, None, None] + 0.2 * noise).astype(np.float16)


def text_dataset(root: Path, kind: str, count: int = 40) -> Dataset:
    """The word `bright` or `dark` decides the mean of an image's latents."""
    rng = np.random.default_rng(0)
    numbers = rng.integers(1, 3, count)
    images = rng.integers(0, 256, (count, 32, 32, 3)).astype(np.uint8)
    split = np.zeros(count, np.uint8)
    split[: count // 5] = 1
    for name in ("data", "encoded"):
        (root / name).mkdir(parents=True)
    conditions = numbers[:, None].astype(np.uint32)
    dataset.pack(root / "data", iter(images), conditions, split, {}, mirrorable=True)
    data = dataset.open_dataset(root / "data")
    np.save(root / "encoded/latents.npy", latents_of(numbers))
    np.save(root / "encoded/rows.npy", rows_of(kind))
    dataset.write_encoded(root / "encoded", data, {"text.length": 5})
    return dataset.open_dataset(root / "data", root / "encoded")


def text_params(forget: float = 0.0, pooled: bool = True, **train: Any) -> Params:
    tiny = tiny_params(**train)
    model = dataclasses.replace(
        tiny.model, attention=(True, True), heads=2, patch=1, pooled_text=pooled
    )
    text = dataclasses.replace(tiny.text, length=5, width=8, layers=1, heads=2, forget=forget)
    sampling = dataclasses.replace(
        tiny.sample,
        weights="ema",
        sampler="ddim",
        steps=4,
        clip=None,
        guidance_scale=2.0,
        guidance_interval=None,
        classifier_scale=0.0,
        classifier_interval=None,
        batch_size=3,
        strip=3,
    )
    return dataclasses.replace(
        tiny, workload="captions", model=model, text=text, sample=sampling, keep_checkpoints=5
    )


def train(settings: Params, data: Dataset, scratch: Path) -> State:
    return loop.train(settings, data, "fp32", Checkpoints(scratch))


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def data(tmp_path: Path, kind: str) -> Dataset:
    return text_dataset(tmp_path, kind)


@pytest.fixture
def words(tmp_path: Path) -> Dataset:
    return text_dataset(tmp_path, "words")


# The packed arrays


def test_the_latents_and_rows_come_out_mapped(data: Dataset, kind: str) -> None:
    assert isinstance(data.latents, np.memmap)
    assert data.seen is data.latents
    assert np.array_equal(data.latents, latents_of(data.conditions[:, 0]))
    assert data.params == {"text.length": 5}
    found = data.conditions_of(np.array([3, 4, 5]))
    assert found.dtype == rows_of(kind).dtype
    assert np.array_equal(found, rows_of(kind)[data.conditions[3:6, 0]])
    without = dataset.open_dataset(data.folder)
    assert without.seen is without.images
    assert without.digest != data.digest


@pytest.mark.parametrize("name", ["latents", "rows"])
def test_a_change_is_noticed(words: Dataset, name: str) -> None:
    assert words.encoded is not None
    words.verify()
    words.check_unchanged()
    path = words.encoded / f"{name}.npy"
    other = np.load(path)
    other.flat[-1] += 1
    np.save(path, other)
    with pytest.raises(LockstepError, match="changed while it was read"):
        words.check_unchanged()
    with pytest.raises(LockstepError, match=rf"{words.encoded}: its files are not those that were"):
        dataset.open_dataset(words.folder, words.encoded).verify()
    labels = np.load(words.folder / "split.npy")
    np.save(words.folder / "split.npy", labels[::-1])
    with pytest.raises(LockstepError, match=rf"{words.folder}: its arrays are not those that were"):
        dataset.open_dataset(words.folder, words.encoded).verify()


def test_other_latents_are_another_data_set(tmp_path: Path, words: Dataset) -> None:
    assert words.latents is not None
    digests = {words.digest}
    for name, latents, rows in (
        ("same", words.latents, words.rows),
        ("latents", -words.latents, words.rows),
        ("rows", words.latents, rows_of("contexts")),
        ("none", None, words.rows),
    ):
        (tmp_path / name).mkdir()
        if latents is not None:
            np.save(tmp_path / name / "latents.npy", latents)
        np.save(tmp_path / name / "rows.npy", rows)
        dataset.write_encoded(tmp_path / name, words, {})
        digests.add(dataset.open_dataset(words.folder, tmp_path / name).digest)
    assert len(digests) == 4


def test_mirrored_latents_are_refused(words: Dataset) -> None:
    with pytest.raises(LockstepError, match=r"train.flip: captions is trained on latents, which"):
        batches.check(text_params(flip=True), words)
    batches.check(text_params(), words)


# Batches


def conditions_of(settings: Params, data: Dataset, steps: int) -> Conditions:
    drawn = batches.training_batches(data, settings, range(steps))
    found = [part.condition for _, parts in drawn for part in parts]
    return Conditions(
        torch.cat([some.values for some in found]), torch.cat([some.given for some in found])
    )


def test_x0_is_the_latents(words: Dataset) -> None:
    ((batch, count), *_) = batches.validation_batches(words, text_params())
    assert batch.x0.dtype == torch.float32
    assert batch.x0.shape == batch.noise.shape == (count, 4, 8, 8)
    assert words.latents is not None
    assert np.array_equal(batch.x0.numpy(), words.latents[:count].astype(np.float32))


def test_conditions_are_dropped_image_by_image(tmp_path: Path, kind: str) -> None:
    data = text_dataset(tmp_path, kind, 200)
    found = conditions_of(text_params(batch_size=100, condition_dropout=0.3), data, 20)
    assert 1 - found.given.float().mean().item() == pytest.approx(0.3, abs=0.04)
    never = conditions_of(text_params(batch_size=100, condition_dropout=0.0), data, 3)
    assert never.given.all()


def test_words_are_forgotten_while_training_only(words: Dataset) -> None:
    plain, forgetful = (
        text_params(forget=rate, batch_size=30, condition_dropout=0.0) for rate in (0.0, 0.4)
    )
    before, after = (conditions_of(one, words, 10).values for one in (plain, forgetful))
    assert torch.equal(before == PADDING, after == PADDING)
    changed = before != after
    assert (after[changed] == UNKNOWN).all()
    assert changed[before != PADDING].float().mean().item() == pytest.approx(0.4, abs=0.06)
    ((one, _),) = batches.validation_batches(words, plain)
    ((other, _),) = batches.validation_batches(words, forgetful)
    assert torch.equal(one.condition.values, other.condition.values)


def test_contexts_are_never_forgotten(tmp_path: Path) -> None:
    data = text_dataset(tmp_path, "contexts")
    found = [conditions_of(text_params(forget=rate), data, 3).values for rate in (0.0, 0.9)]
    assert torch.equal(*found)


# Training


@pytest.mark.long
def test_it_learns_what_the_words_say(tmp_path: Path, data: Dataset, kind: str) -> None:
    settings = text_params(
        steps=50,
        batch_size=8,
        lr=5e-3,
        validate_every=50,
        condition_dropout=0.1,
        ema_decay=0.9,
    )
    state = train(settings, data, tmp_path / "scratch")
    losses = loop._losses(settings, "fp32")
    ((batch, _),) = batches.validation_batches(data, settings)
    numbers = data.conditions[data.indices("validation"), 0]
    turned = Conditions.of(torch.from_numpy(rows_of(kind)[3 - numbers]))
    with torch.no_grad(), state.best_guess() as model:
        right = losses(model, batch).mean()
        wrong = losses(model, dataclasses.replace(batch, condition=turned)).mean()
    assert wrong > 3 * right


def test_it_repeats_and_resumes_to_the_bit(tmp_path: Path, data: Dataset) -> None:
    settings = text_params(forget=0.1, log_every=1, accumulation=2)
    whole = train(settings, data, tmp_path / "whole")
    assert same_bytes(weights_of(whole), weights_of(train(settings, data, tmp_path / "again")))

    class Killed(Exception):
        pass

    def kill(step: int, row: dict[str, float]) -> None:
        if step == 7:
            raise Killed

    with pytest.raises(Killed):
        loop.train(settings, data, "fp32", Checkpoints(tmp_path / "cut"), kill)
    seen: list[int] = []
    resumed = loop.train(
        settings, data, "fp32", Checkpoints(tmp_path / "cut"), lambda step, row: seen.append(step)
    )
    assert seen[0] == 5
    assert same_bytes(weights_of(whole), weights_of(resumed))
    assert whole.history == resumed.history


def test_latents_that_change_meanwhile_end_it(tmp_path: Path, words: Dataset) -> None:
    def change(step: int, row: dict[str, float]) -> None:
        if step == 6:
            assert words.encoded is not None
            with (words.encoded / "latents.npy").open("r+b") as file:
                file.seek(500)
                file.write(b"changed")

    with pytest.raises(LockstepError, match=r"changed while it was read"):
        checkpoints = Checkpoints(tmp_path / "scratch")
        loop.train(text_params(log_every=1), words, "fp32", checkpoints, change)


def test_labels_with_latents_will_do(tmp_path: Path) -> None:
    """The two are independent: an autoencoder for labelled images, prompts for pixels."""
    data = text_dataset(tmp_path, "words")
    labelled = dataclasses.replace(data, rows=None, conditions=data.conditions % 2)
    config = build.generator_config(text_params(), labelled)
    assert (config.unet.in_channels, config.labels, config.text) == (4, 1, None)
    assert not config.pooled_text
    pixels = dataclasses.replace(data, latents=None)
    config = build.generator_config(text_params(), pixels)
    assert (config.unet.in_channels, config.labels) == (3, 0)
    for some in (labelled, pixels):
        state = train(text_params(steps=2), some, tmp_path / f"{some.rows is None}")
        assert state.step == 2


# A model's folder


def describe(settings: Params, data: Dataset) -> Description:
    config = build.generator_config(settings, data)
    return Description(
        condition="prompts",
        unet=config.unet,
        labels=config.labels,
        text=config.text,
        pooled_text=config.pooled_text,
        size=32,
        reduction=4,
        schedule=noise_schedule(settings.diffusion),
        prediction=settings.diffusion.prediction,
        precision="fp32",
        fingerprint="0" * 64,
        params={
            "threads": 1,
            "text.encoder": "folder/of/clip",
            "text.encoder_sha256": "0" * 64,
        },
    )


def untrained(folder: Path, data: Dataset, pooled: bool = True) -> Description:
    """Write what a training would, with weights as they begin, but none of them zero."""
    folder.mkdir(parents=True)
    settings = text_params(pooled=pooled)
    model = begin(settings, data, "fp32").model
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    description = describe(settings, data)
    generator.save(folder, description, {"ema": model.state_dict()})
    decoder = KLAutoencoder(DRAWN)
    tools = folder.parent / "tools"
    tools.mkdir()
    autoencoder.save(decoder, tools)
    TOKENIZER.save(tools / tokenizer.FILE)
    generator.copy_tools(tools, folder)
    return description


@pytest.fixture
def folder(tmp_path: Path, data: Dataset) -> Path:
    untrained(tmp_path / "model", data)
    return tmp_path / "model"


@pytest.fixture
def words_folder(tmp_path: Path, words: Dataset) -> Path:
    untrained(tmp_path / "model", words)
    return tmp_path / "model"


def conditions(kind: str) -> Conditions:
    return Conditions.of(torch.from_numpy(rows_of(kind)))


def test_the_folder_rebuilds_the_model(folder: Path, data: Dataset, kind: str) -> None:
    found = load(folder, "ema")
    assert found.description == describe(text_params(), data)
    assert found.description.is_conditional
    assert found.description.shape == (4, 8, 8)
    text = ScratchConfig(words=TOKENIZER.size, length=5, width=8, layers=1, heads=2)
    assert found.description.text == (text if kind == "words" else FrozenConfig(3, 12))
    assert isinstance(found.autoencoder, KLAutoencoder)
    saved = read_tensors(folder / "ema.safetensors")
    assert same_bytes(found.model.state_dict(), saved)
    if kind == "contexts":
        # What is said of nothing is the empty prompt's context, and goes with the weights.
        assert isinstance(found.model.embedding, FrozenText)
        empty = conditions(kind)[:1]
        assert torch.equal(found.model.embedding.empty, empty.values[0].float())
        x, t = torch.randn(1, 4, 8, 8), torch.tensor([5])
        nothing = found.model(x, t, conditions(kind)[1:2].null())
        assert torch.equal(nothing, found.model(x, t, empty))


@pytest.mark.parametrize("pooled", [True, False])
def test_the_mean_of_a_prompt_conditions_every_level_if_it_is_to(
    tmp_path: Path, data: Dataset, kind: str, pooled: bool
) -> None:
    description = untrained(tmp_path / "model", data, pooled)
    model, found = generator.load(tmp_path / "model", "ema")
    assert found == description
    assert found.pooled_text == pooled
    saved = read_tensors(tmp_path / "model/ema.safetensors")
    layers = {f"pooled.linear_{n}.{part}" for n in (1, 2) for part in ("weight", "bias")}
    assert {name for name in saved if name.startswith("pooled.")} == (layers if pooled else set())
    assert same_bytes(model.state_dict(), saved)
    x, t, said = torch.randn(3, 4, 8, 8), torch.tensor([5, 400, 900]), conditions(kind)
    context, mask = (
        model.embedding(said.values)
        if kind == "words"
        else model.embedding(said.values, said.given)
    )
    whole = model.pooled(context, mask) if pooled else None
    assert torch.equal(model(x, t, said), model.unet(x, t, context, mask, whole))


def test_the_empty_prompt_is_pooled_too(folder: Path, kind: str) -> None:
    model, _ = generator.load(folder, "ema")
    x, t, said = torch.randn(3, 4, 8, 8), torch.tensor([5, 400, 900]), conditions(kind)
    drawn = model(x, t, said.null())
    assert drawn.isfinite().all()
    assert not torch.allclose(drawn[1:], model(x, t, said)[1:], atol=1e-4)
    for gradient in torch.autograd.grad(drawn.square().sum(), [*model.pooled.parameters()]):
        assert gradient.isfinite().all() and gradient.any()


def test_it_draws_images(folder: Path, kind: str) -> None:
    trained, settings = load(folder, "ema"), text_params().sample
    wanted = conditions(kind)[[1, 2, 0, 1, 2]]
    together = sample(trained, dataclasses.replace(settings, batch_size=5), wanted, seed=3)
    assert together.shape == (5, 3, 32, 32)
    assert together.isfinite().all() and together.abs().max() <= 1
    apart = sample(trained, dataclasses.replace(settings, batch_size=2), wanted, seed=3)
    assert torch.allclose(together, apart, atol=1e-5)
    assert sample(trained, settings, wanted[:0], seed=3).shape == (0, 3, 32, 32)
    # Decoded: the same latents, seen as they are.
    raw = []
    sample(trained, settings, wanted[:1], seed=3, callback=lambda info: raw.append(info.x))
    assert raw[-1].shape == (1, 4, 8, 8)


def test_guidance_goes_from_nothing_through_the_condition(folder: Path, kind: str) -> None:
    trained, said = load(folder, "ema"), conditions(kind)[[1, 2]]
    nothing = said.null()

    def drawn(scale: float, asked: Conditions, model: Trained = trained) -> torch.Tensor:
        settings = dataclasses.replace(text_params().sample, guidance_scale=scale)
        return sample(model, settings, asked, seed=0)

    class Unguided(torch.nn.Module):
        def forward(self, x: torch.Tensor, t: torch.Tensor, said: Conditions) -> torch.Tensor:
            assert said.given.all(), "it was asked what there is without a condition"
            return trained.model(x, t, said)

    plain = dataclasses.replace(trained, model=Unguided())  # type: ignore[arg-type]
    assert torch.equal(drawn(1.0, said), drawn(1.0, said, plain))
    assert torch.allclose(drawn(0.0, said), drawn(1.0, nothing), atol=1e-5)
    assert torch.allclose(drawn(5.0, nothing), drawn(1.0, nothing), atol=1e-5)
    assert not torch.allclose(drawn(5.0, said), drawn(1.0, said), atol=1e-4)


def test_strips_and_previews_are_images_too(folder: Path, data: Dataset, kind: str) -> None:
    trained, settings = load(folder, "ema"), text_params()
    strips = denoising_strips(trained, settings.sample, conditions(kind), seed=0)
    assert strips.shape == (3, 3, 3, 32, 32)
    assert strips.abs().max() <= 1
    assert torch.equal(strips[:, -1], sample(trained, settings.sample, conditions(kind), seed=0))
    assert data.encoded is not None
    generator.copy_tools(folder, data.encoded)
    shown = preview.generate(trained.model, trained.description, settings, data)
    assert shown.grid.shape[2] == 3 and len(shown.strips) == 16


# Prompts


ODD = ["a bright zebra", "", "dark " * 500, "😀", "一個紅色的正方體"]


def test_any_prompt_is_read_and_drawn(words_folder: Path) -> None:
    rows = prompts.read(words_folder, ODD)
    a, bright, dark = TOKENIZER.encode(["a", "bright", "dark"])[:, 0].tolist()
    assert rows.given.tolist() == [True, False, True, True, True]
    assert rows.values.tolist() == [
        [a, bright, UNKNOWN, 0, 0],
        [0] * 5,
        [dark] * 5,
        [UNKNOWN, 0, 0, 0, 0],
        [UNKNOWN] * 5,
    ]
    assert [prompts.warnings(words_folder, prompt) for prompt in ODD[:4]] == [
        ["not among the training's words: zebra"],
        [],
        ["the prompt is too long: its last 495 words are left out"],
        ["not among the training's words: 😀"],
    ]
    unknown, cut = prompts.warnings(words_folder, ODD[4])
    assert unknown.startswith("not among the training's words: 一, 個, 紅")
    assert cut == "the prompt is too long: its last 3 words are left out"
    drawn = sample(load(words_folder, "ema"), text_params().sample, rows, seed=0)
    assert drawn.shape == (5, 3, 32, 32)
    assert drawn.isfinite().all()


def test_words_that_are_always_cut_off_are_unknown(tmp_path: Path) -> None:
    """The training never sees them: there is no embedding of them either."""
    prompts_ = ["a dark image", "a bright image of a zebra"]
    short = tokenizer.build(prompts_, length=3)
    rows = short.encode(["zebra zebra zebra", *prompts_])
    assert rows[0].tolist() == [UNKNOWN] * 3
    assert short.size == rows.max() + 1


class Encoder:
    """Stands for the text half of a CLIP: a prompt's letters, and none of it zero."""

    def encode(self, given: list[str]) -> torch.Tensor:
        rows = [np.full((3, 12), 1 + len(prompt), np.float32) for prompt in given]
        return torch.from_numpy(np.stack(rows))

    def cut(self, given: list[str]) -> list[int]:
        return [max(0, len(prompt) - 77) for prompt in given]


def test_a_pretrained_encoder_reads_prompts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    untrained(tmp_path / "model", text_dataset(tmp_path, "contexts"))
    asked = []
    monkeypatch.setattr(pretrained, "load", lambda source: asked.append(source) or Encoder())
    rows = prompts.read(tmp_path / "model", ["dark", "", " \n"])
    assert rows.values.shape == (3, 3, 12)
    assert (rows.values[0] == 5).all() and rows.given.tolist() == [True, False, False]
    assert prompts.warnings(tmp_path / "model", "dark") == []
    assert prompts.warnings(tmp_path / "model", "x" * 80) == [
        "the prompt is too long: its last 3 tokens are left out"
    ]
    assert set(asked) == {"folder/of/clip"}
    drawn = sample(load(tmp_path / "model", "ema"), text_params().sample, rows, seed=0)
    assert drawn.isfinite().all()


@pytest.fixture
def project(tmp_path: Path, words: Dataset, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An untrained model of captions where the commands look for it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    untrained(paths.model("captions"), words)
    return tmp_path


def test_an_image_is_asked_for_by_a_sentence(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn = {}
    for name, asked in (("a", ["a bright zebra"]), ("b", ["a dark image"]), ("c", [])):
        command = ["lockstep", "sample", "captions", *asked, "--count", "3", "--steps", "2"]
        command += ["--classifier-scale", "0"]
        monkeypatch.setattr(sys, "argv", [*command, "--weights", "ema", "--out", f"{name}.png"])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        err = capsys.readouterr().err
        assert caught.value.code == 0, err
        drawn[name] = read_rgb(project / f"{name}.png")
        assert ("zebra" in err) == (name == "a")
    assert drawn["a"].shape == drawn["c"].shape
    assert not np.array_equal(drawn["a"], drawn["b"])
    assert not np.array_equal(drawn["b"], drawn["c"])


def test_the_images_of_test_json_are_called_by_their_ids(project: Path) -> None:
    folder = paths.dataset("captions")
    folder.mkdir(parents=True)
    captions.write(folder, {}, {"one": "a bright image", "2": "a dark zebra"})
    asked = prompts.targets(load_params("captions", ROOT / "params.yaml"))
    (wanted,) = asked.sets
    assert wanted.files == ["images/one.png", "images/2.png"]
    read = prompts.read(paths.model("captions"), ["a bright image", "a dark zebra"])
    for found in (wanted.conditions, asked.strips):
        assert torch.equal(found.values, read.values) and torch.equal(found.given, read.given)
    drawn = sample(
        load(paths.model("captions"), "ema"), text_params().sample, wanted.conditions, seed=0
    )
    (project / "out" / "images").mkdir(parents=True)
    kept = wanted.write(project / "out", [(0, drawn)])
    assert torch.equal(kept, drawn)
    assert read_rgb(project / "out/images/one.png").shape == (32, 32, 3)


def test_the_served_model_takes_prompts(words_folder: Path, tmp_path: Path) -> None:
    import mlflow
    import pandas as pd
    from mlflow.models import Model

    from lockstep.tracking import export

    settings, asked = text_params().sample, ["a bright image", "zebra", ""]
    export.write(tmp_path / "served", words_folder, dataclasses.asdict(settings), Model(), None)
    served = mlflow.pyfunc.load_model(str(tmp_path / "served"))
    shutil.rmtree(words_folder)  # it has all it needs
    given = served.predict(pd.DataFrame({"prompt": asked}))
    folder = next((tmp_path / "served").rglob("model.json")).parent
    expected = sample(load(folder, "ema"), settings, prompts.read(folder, asked), seed=0)
    assert np.array_equal(given, to_bytes(expected))
    with pytest.raises(LockstepError, match="prompt: not text, such as 'a red cube'"):
        served.unwrap_python_model()._conditions(pd.DataFrame({"prompt": [None]}))


# params.yaml


@pytest.mark.parametrize(
    ("section", "changes", "message"),
    [
        ("autoencoder", {"kind": "pretrained"}, r"autoencoder\.name: empty; name the pretrained"),
        ("autoencoder", {"kind": "vq"}, r"captions\.autoencoder\.kind: .* not 'vq'"),
        ("autoencoder", {"kind": "kl", "patch": 0}, r"Autoencoder\.patch is 0: give a"),
        ("autoencoder", {"kind": "kl", "channels": [32, 60]}, r"Autoencoder\.channels is \(32"),
        ("autoencoder", {"kind": "kl", "patch": 3}, r"source\.size: 64 is not a multiple of 48"),
        ("source", {"size": 60}, r"source\.size: 60 is not a multiple of 8, as model\.patch and"),
        ("source", {"count": 63}, r"source\.count: 63 is below 64, "),
        ("text", {"width": 40}, r"text\.width: 40 is not a multiple of text\.heads \(3\)"),
        ("text", {"heads": 0}, r"captions\.text\.heads: .* not 0"),
        ("text", {"forget": 1.0}, r"captions\.text\.forget: .* not 1.0"),
        ("text", {"words": 9}, r"captions\.text\.words: unknown parameter"),
        ("model", {"channels": [64, 128], "attention": [True]}, r"model: CrossAttentionUNetConfig"),
        ("model", {"heads": 0}, r"captions\.model\.heads: .* not 0"),
        ("train", {"flip": True, "steps": 1500}, r"train\.flip: latents cannot be mirrored, and"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_one_line(section: str, changes: dict, message: str) -> None:
    document = read_yaml(ROOT / "params.yaml")
    document["captions"][section] = {**document["captions"][section], **changes}
    with pytest.raises(LockstepError, match=message) as caught:
        parse_params(document, "captions")
    assert "\n" not in str(caught.value)


def test_labelled_images_may_be_latents_but_not_mirrored() -> None:
    document = read_yaml(ROOT / "params.yaml")
    document["anime"]["autoencoder"] = {"kind": "kl"}
    document["anime"]["train"] = {**document["anime"]["train"], "flip": True}
    document["anime"]["sample"] = {**document["anime"]["sample"], "clip": 4.0}
    with pytest.raises(LockstepError, match=r"train\.flip: latents cannot be mirrored"):
        parse_params(document, "anime")


def test_images_without_an_autoencoder_have_no_tools(tmp_path: Path) -> None:
    (tmp_path / "from").mkdir()
    (tmp_path / "to").mkdir()
    save_weights({"x": torch.zeros(1)}, tmp_path / "from/latents.safetensors")
    generator.copy_tools(tmp_path / "from", tmp_path / "to")
    assert list((tmp_path / "to").iterdir()) == []
