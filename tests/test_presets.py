"""Published settings: each fits, and its training and sampling begin."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import nn

import tiny_clip
from lockstep.config import presets
from lockstep.config.document import _Loader, read_yaml
from lockstep.config.load import parse_params
from lockstep.config.schema import Params
from lockstep.config.weights import averages_of
from lockstep.core import hashing
from lockstep.core.errors import LockstepError
from lockstep.data import captions, dataset, encode
from lockstep.data.dataset import Dataset
from lockstep.data.texts import texts_of
from lockstep.models import autoencoder, build, generator
from lockstep.models.conditions import Conditions
from lockstep.models.generator import Description
from lockstep.models.text import SCRATCH
from lockstep.models.unet import CrossAttentionUNet
from lockstep.sampling.conditions import condition_of
from lockstep.sampling.sample import load, sample
from lockstep.training import autoencoder as autoencoder_training
from lockstep.training import loop
from lockstep.training.checkpoint import Checkpoints
from tiny import ROOT

COMMITTED = ROOT / "params.yaml"
WORKLOADS = read_yaml(COMMITTED)["workloads"]
NAMES = [path.stem for path in sorted((ROOT / "presets").glob("*.yaml"))]
ONLY = [
    (name, workload)
    for name in NAMES
    for workload in WORKLOADS
    if any(t.endswith(f"@{workload}") for t in presets.load(name, ROOT / "presets").targets)
]
LABELS = {"iclevr": 24}
PROMPT = "a red cube"


@pytest.mark.parametrize("name", [path.stem for path in (ROOT / "presets").glob("*.yaml")])
def test_every_preset_fits_and_its_arguments_give_its_values(name: str) -> None:
    preset = presets.load(name, ROOT / "presets")
    for workload in WORKLOADS:
        parse_params(preset.over(read_yaml(COMMITTED)), workload)
    flags = preset.arguments()[: -len(preset.targets)]
    assert preset.arguments()[len(flags) :] == preset.targets
    assert set(flags[::2]) == {"-S"}
    assert not any(" " in flag for flag in flags), "$(lockstep preset ...) splits at spaces"
    for flag, (key, value) in zip(flags[1::2], preset.values.items(), strict=True):
        name_of, _, text = flag.removeprefix("++").partition("=")
        assert name_of == key
        assert yaml.load(text, Loader=_Loader) == value


def test_an_overlay_leaves_the_document_alone() -> None:
    document = read_yaml(COMMITTED)
    before = copy.deepcopy(document)
    presets.load("smoke", ROOT / "presets").over(document)
    assert document == before


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("targets: evaluate@faces\nparams: {}", "targets: expected a list of names, not 'eval"),
        ("targets: [a]\nparams:", "params: expected `key: value` lines, not None"),
        ("targets: [a]\nparams: {train.lr: 1.0}", "train.lr: a preset sets keys of a workload"),
        ("targets: [a]\nparams: {faces.train: {lr: 1.0}}", "faces.train: name each parameter"),
        ("targets: [a]", "must have description, targets and params"),
    ],
)
def test_a_preset_in_another_form_is_named(tmp_path: Path, written: str, said: str) -> None:
    (tmp_path / "mine.yaml").write_text(f"description: mine\n{written}\n")
    with pytest.raises(LockstepError) as refused:
        presets.load("mine", tmp_path)
    assert f"{tmp_path}/mine.yaml: {said}" in str(refused.value)


def test_a_value_that_a_shell_would_split_is_refused() -> None:
    sources = {"captions.text.encoder": "/data/my clip"}
    preset = presets.Preset("mine", "", ["evaluate@captions"], sources)
    with pytest.raises(LockstepError, match=r"captions\.text\.encoder: '/data/my clip' has"):
        preset.arguments()
    listed = presets.Preset("mine", "", [], {"anime.source.paths": ["a.zip", "b"]})
    assert listed.arguments() == ["-S", "++anime.source.paths=[a.zip,b]"]


def test_a_key_through_what_is_no_section_is_named() -> None:
    preset = presets.Preset("mine", "", [], {"iclevr.condition.kind": "x"})
    with pytest.raises(LockstepError, match=r"mine\.yaml: iclevr\.condition\.kind: condition is"):
        preset.over(read_yaml(COMMITTED))


def test_every_published_system_has_one() -> None:
    assert set(NAMES) >= {"lab6", "hw5", "eai", "anime", "hw6", "best-iclevr", "smoke"}
    assert {workload for name, workload in ONLY if name == "smoke"} == set(WORKLOADS)


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """In place of what is fetched: a CLIP as wide as hw6's, and Stable Diffusion's latents."""
    folder = tmp_path_factory.mktemp("pretrained")
    tiny_clip.save(folder / "clip", width=512)
    torch.manual_seed(0)
    AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8,) * 4,
        norm_num_groups=4,
    ).save_pretrained(folder / "vae")
    return folder


def shortened(found: Params, pretrained: Path) -> Params:
    """All of it but the length, the sizes of batches and images, and a precision for a GPU.

    Pretrained networks are those in a folder, and what hw6 trains is a quarter as wide.
    """
    train = dataclasses.replace(
        found.train,
        steps=2,
        epochs=None,
        batch_size=2,
        accumulation=min(2, found.train.accumulation),
        warmup_steps=1,
        validate_every=2,
        precision="bf16" if found.train.precision == "fp16" else "fp32",
        snapshots=(),
        snapshot_every_epochs=None,
    )
    latent = dataclasses.replace(found.autoencoder, batch_size=2)
    wanted = dataclasses.replace(found, train=train, autoencoder=latent, grid_every_epochs=None)
    if found.text.encoder == SCRATCH:
        return wanted
    clip = pretrained / "clip"
    text = dataclasses.replace(found.text, encoder=str(clip), encoder_sha256=hashing.sha256(clip))
    return dataclasses.replace(
        wanted,
        model=dataclasses.replace(found.model, channels=(64, 96, 128, 192)),
        text=text,
        autoencoder=dataclasses.replace(latent, name=str(pretrained)),
    )


def some_images(wanted: Params, root: Path) -> Dataset:
    """Six images of noise with any labels or prompts, packed and encoded."""
    # The smallest that the network takes: latents of 8 x 8 at least.
    kind = wanted.autoencoder
    reduction = kind.reduction if kind.kind == "kl" else 1
    side = 64 if wanted.reads_text else max(16, wanted.model.unet().size_multiple * reduction)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (6, side, side, 3)).astype(np.uint8)
    conditions = rng.integers(0, 2, (6, LABELS.get(wanted.workload, 0))).astype(np.uint8)
    split = np.array([0, 0, 0, 0, 1, 1], np.uint8)
    folder, out = root / "data", root / "encoded"
    folder.mkdir()
    out.mkdir()
    if wanted.reads_text:
        prompts = [PROMPT, "a blue sphere"] * 3
        conditions = np.array([[2], [1]] * 3, np.uint32)  # in alphabetical order
        captions.write(folder, {f"{i}.png": [said] for i, said in enumerate(prompts)}, {})
    dataset.pack(folder, iter(images), conditions, split, {}, mirrorable=True)
    data = dataset.open_dataset(folder)
    made = autoencoder_training.make(wanted, data, lambda items, _: items)
    autoencoder.save(made, out)
    encode.write_latents(out, made, data, lambda items, _: items)
    if (texts := texts_of(wanted)) is not None:
        texts.write_rows(wanted, data, out)
    dataset.write_encoded(out, data, wanted.values("text"))
    return dataset.open_dataset(folder, out)


# Of the published ones each takes up to a minute; smoke has every kind of workload.
@pytest.mark.parametrize(
    ("name", "workload"),
    [
        pytest.param(name, workload, marks=[] if name == "smoke" else pytest.mark.long)
        for name, workload in ONLY
    ],
)
def test_its_first_steps_run(name: str, workload: str, pretrained: Path, tmp_path: Path) -> None:
    preset = presets.load(name, ROOT / "presets").only(workload)
    found = parse_params(preset.over(read_yaml(COMMITTED)), workload)
    assert found.train.batch_size >= found.train.accumulation
    wanted = shortened(found, pretrained)
    data = some_images(wanted, tmp_path)
    precision = wanted.train.precision
    assert precision in ("fp32", "bf16")
    trained = loop.train(wanted, data, precision, Checkpoints(tmp_path / "scratch"))
    assert len(trained.history.validation) == 1
    config = build.generator_config(wanted, data)
    side = data.images.shape[1]
    description = Description(
        condition=wanted.condition,
        unet=config.unet,
        labels=config.labels,
        text=config.text,
        pooled_text=config.pooled_text,
        size=side,
        reduction=data.reduction,
        schedule=build.noise_schedule(wanted.diffusion),
        prediction=wanted.diffusion.prediction,
        precision=precision,
        fingerprint="",
        params=data.params,
    )
    folder = tmp_path / "model"
    folder.mkdir()
    generator.save(folder, description, trained.weights())
    generator.copy_tools(tmp_path / "encoded", folder)
    (weights, *_) = averages_of(wanted.train.ema_decay, wanted.train.ema_sigma_rel)
    settings = dataclasses.replace(found.sample, steps=2)
    conditions = Conditions.of(torch.from_numpy(data.conditions[:1].copy()).float())
    if wanted.reads_text:
        conditions = condition_of(wanted).read(folder, [PROMPT])
        read = conditions.values.numpy().astype(data.rows.dtype)
        assert np.array_equal(read, data.rows[[2]])
    generated = sample(load(folder, weights), settings, conditions, seed=0)
    assert generated.shape == (1, 3, side, side)
    assert generated.isfinite().all()


def test_hw6_has_the_published_network() -> None:
    preset = presets.load("hw6", ROOT / "presets")
    found = parse_params(preset.over(read_yaml(COMMITTED)), "captions")
    assert found.source.size == 8 * 32
    with torch.device("meta"):
        ours = CrossAttentionUNet(found.model.cross_attention_unet(4, 512))
        theirs = UNet2DConditionModel(
            sample_size=32,
            block_out_channels=(256, 384, 512, 768),
            down_block_types=(*["CrossAttnDownBlock2D"] * 3, "DownBlock2D"),
            up_block_types=("UpBlock2D", *["CrossAttnUpBlock2D"] * 3),
            layers_per_block=2,
            cross_attention_dim=512,
            attention_head_dim=16,
        )

    def shapes(model: nn.Module) -> dict[str, torch.Size]:
        return {name: tensor.shape for name, tensor in model.state_dict().items()}

    assert shapes(ours) == shapes(theirs)
    assert found.model.heads == theirs.config.attention_head_dim
