"""Folders of trained models whose weights are random: nothing in them is trained."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import diffusers
import torch

import parity
import tiny_clip
from lockstep.config.load import load_params
from lockstep.config.networks import CrossAttentionUNetConfig, KLConfig, UNetConfig
from lockstep.config.schema import Sample
from lockstep.core import hashing
from lockstep.core.files import write_json
from lockstep.diffusion import NoiseSchedule
from lockstep.models import autoencoder, generator, noisy_classifier
from lockstep.models.autoencoder import KLAutoencoder
from lockstep.models.autoencoder.pretrained import Origin, Pretrained
from lockstep.models.generator import Description, FrozenConfig
from lockstep.models.noisy_classifier import Config, NoisyClassifier, untrained
from lockstep.models.text import FrozenText, ScratchConfig, Tokenizer, pretrained, tokenizer

ROOT = Path(__file__).resolve().parent.parent
NAMES = ("red", "green", "blue")
WORDS = ("a", "red", "cube", "紅")
SIZE = 16


def sample(**changes: Any) -> Sample:
    """Four steps of DDIM, unless changed."""
    committed = load_params("iclevr", ROOT / "params.yaml").sample
    quick = {"sampler": "ddim", "steps": 4, "clip": 1.0}
    guided = {"guidance_scale": 2.0, "guidance_interval": None}
    guided |= {"classifier_scale": 0.0, "classifier_interval": None}
    return dataclasses.replace(committed, **{**quick, **guided, **changes})


def nothing_zero(classifier: NoisyClassifier) -> NoisyClassifier:
    """The same with random weights where there are zeros at first."""
    for name, parameter in classifier.named_parameters():
        if name.startswith(("shifts", "layers")) and ".norm_" not in name:
            torch.nn.init.normal_(parameter, std=0.5)
    return classifier


def save_classifier(folder: Path, model: Path) -> Path:
    """A classifier of noisy images for the labels of a saved model."""
    folder.mkdir(parents=True)
    description = generator.describe(model)
    torch.manual_seed(1)
    inputs, length, file = description.labels, None, None
    if isinstance(text := description.text, ScratchConfig):
        inputs, length, file = text.words, text.length, hashing.sha256(model / tokenizer.FILE)
    config = Config(inputs, length, file, description.shape, 4, description.schedule)
    classifier = nothing_zero(untrained(config))
    with torch.no_grad():  # so that its batch norms have seen something
        for _ in range(20):
            classifier.features(torch.randn(32, *description.shape), torch.randint(100, (32,)))
    noisy_classifier.save(classifier, folder)
    return folder


def save(
    folder: Path,
    condition: str = "none",
    *,
    patch: int = 1,
    latents: str = "pixels",
    text: str = "scratch",
    pooled_text: bool = False,
    prediction: str = "x0",
    schedule: str = "squaredcos_cap_v2",
    zero_terminal_snr: bool = False,
    scale_shift: bool = True,
    placement_heads: int = 0,
) -> Path:
    """A model of 16 x 16 images.

    `latents` is `pixels`, `kl` or `pretrained`; `text` is `scratch`, or `clip`, whose folder is
    made beside.
    """
    folder.mkdir(parents=True)
    torch.manual_seed(0)
    channels, reduction = (3, 1) if latents == "pixels" else (4, 2)
    backbone = {
        "channels": (8, 16),
        "layers_per_block": 1,
        "norm_groups": 4,
        "patch": patch,
        "scale_shift": scale_shift,
        "placement_heads": placement_heads,
        "in_channels": channels,
        "out_channels": channels,
    }
    texts: Any = None
    params: dict[str, Any] = {"threads": 1}
    if condition == "prompts":
        unet: Any = CrossAttentionUNetConfig(
            **backbone, cross_attention=(False, True), cross_attention_dim=16, heads=2
        )
        texts = ScratchConfig(words=2 + len(WORDS), length=5, width=16, layers=1, heads=2)
        Tokenizer(WORDS, texts.length).save(folder / tokenizer.FILE)
        if text == "clip":
            texts = FrozenConfig(tiny_clip.LENGTH, tiny_clip.WIDTH)
            encoder = folder.parent / "clip"
            tiny_clip.save(encoder)
            params |= {
                "text.encoder": str(encoder),
                "text.encoder_sha256": hashing.sha256(encoder),
            }
    else:
        unet = UNetConfig(**backbone, attention=(False, True), attention_head_dim=8)
    labels = len(NAMES) if condition in ("labels", "classes") else 0
    description = Description(
        unet=unet,
        condition=condition,  # type: ignore[arg-type]
        labels=labels,
        size=SIZE,
        schedule=NoiseSchedule(
            schedule,  # type: ignore[arg-type]
            100,
            zero_terminal_snr=zero_terminal_snr,
        ),
        prediction=prediction,  # type: ignore[arg-type]
        precision="fp32",
        fingerprint="0" * 64,
        params=params,
        text=texts,
        pooled_text=pooled_text,
        reduction=reduction,
    )
    if labels:
        write_json(folder / "names.json", {name: i for i, name in enumerate(NAMES)})
    model = description.build()
    parity.randomise_norms(model)
    if text == "clip" and condition == "prompts":
        encoder = pretrained.load(params["text.encoder"])
        # Rounded as it is in the files that a generator is trained on.
        model.embedding = FrozenText(encoder.encode([""])[0].half())
    generator.save(folder, description, {"ema": model.state_dict()})
    autoencoder.save(_autoencoder(latents), folder)
    return folder


def _autoencoder(kind: str) -> autoencoder.Autoencoder:
    if kind == "pixels":
        return autoencoder.Pixels()
    if kind == "kl":
        made = KLAutoencoder(KLConfig(channels=(8,), patch=2, norm_groups=4))
        made.mean.uniform_(-0.5, 0.5)
        made.deviation.uniform_(0.5, 1.5)
        torch.nn.init.normal_(made.decoder.conv_out.weight, std=0.05)
        return made
    library = diffusers.AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(8, 16),
        norm_num_groups=4,
        sample_size=SIZE,
        scaling_factor=0.5,
    )
    described = {k: v for k, v in library.config.items() if not k.startswith("_")}
    ours = Pretrained(described, Origin("tiny", "", "0" * 64))
    parity.randomise_norms(ours)
    return ours
