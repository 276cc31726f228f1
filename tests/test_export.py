"""Exported folders draw, with diffusers alone, what the project draws."""

from __future__ import annotations

import ast
import dataclasses
import json
import os
import subprocess
import sys
import sysconfig
import venv
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tiny_models
from lockstep.config import presets
from lockstep.config.document import read_yaml
from lockstep.config.load import parse_params
from lockstep.config.schema import Params
from lockstep.core.errors import LockstepError
from lockstep.diffusion.noise import stream_seed
from lockstep.export import folder
from lockstep.export.schedulers import differences, scheduler_of
from lockstep.models.build import noise_schedule
from lockstep.sampling.conditions import condition_called
from lockstep.sampling.sample import load, sample
from tiny_models import NAMES

SEED, CLOSE = 3, 1e-4
PROMPTS = ["a red Cube!", "", "a 紅 dog is red cube a red"]
LABELS = ["red, blue", "green", ""]
LATENT = {"latents": "pretrained", "text": "clip"}
OWN = "LockstepPipeline"


@dataclass(frozen=True)
class Case:
    """A model, how it is sampled, the pipeline that it becomes, and how that is called."""

    pipeline: str
    condition: str = "none"
    texts: list[Any] = field(default_factory=lambda: [None] * 3)
    model: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    call: dict[str, Any] = field(default_factory=dict)


def plain(pipeline: str, prediction: str, sampler: str, steps: int, **call: Any) -> Case:
    # At the cosine's last level epsilon says nothing of the image.
    kind = "linear" if prediction == "epsilon" else "squaredcos_cap_v2"
    return Case(
        pipeline,
        model={"prediction": prediction, "schedule": kind},
        settings={"sampler": sampler, "steps": steps},
        call={"batch_size": 3, "num_inference_steps": steps, **call},
    )


def asked(condition: str, texts: list[str], model: dict[str, Any], **settings: Any) -> Case:
    return Case(OWN, condition, texts, model, settings, {"prompt": texts})


def unasked(model: dict[str, Any], **settings: Any) -> Case:
    return Case(OWN, model=model, settings=settings, call={"batch_size": 3})


def in_force(workload: str, preset: str | None) -> Params:
    """What params.yaml says of a workload, or what a preset makes of it."""
    path = tiny_models.ROOT / "params.yaml"
    document = read_yaml(path)
    if preset is not None:
        document = presets.load(preset, tiny_models.ROOT / "presets").over(document)
    return parse_params(document, workload, path)


def as_sampled(workload: str, preset: str | None = None) -> Case:
    """A small model of the same kind, sampled with the same settings in fewer steps."""
    params = in_force(workload, preset)
    model = {
        "prediction": params.diffusion.prediction,
        # At the cosine's last level epsilon says nothing of the image.
        "schedule": "linear"
        if params.diffusion.prediction == "epsilon"
        else params.diffusion.schedule,
        "zero_terminal_snr": params.diffusion.zero_terminal_snr,
        "scale_shift": params.model.scale_shift,
        "patch": min(params.model.patch, 2),
        "placement_heads": params.model.placement_heads,
    }
    settings = dataclasses.asdict(params.sample)
    for name in ("weights", "batch_size", "count", "strip", "seeds", "processes"):
        del settings[name]
    settings["steps"] = min(settings["steps"], 8)
    # The classifier has random weights: its gradient is steeper.
    settings["classifier_scale"] = min(settings["classifier_scale"], 2.0)
    if params.condition == "prompts":
        model["pooled_text"] = params.model.pooled_text
        return asked("prompts", PROMPTS, model, **settings)
    return asked("labels", LABELS, model, **settings)


CLIPPED = {"use_clipped_model_output": True}
CASES = {
    **{
        f"{prediction} {sampler}": plain(pipeline, prediction, sampler, steps, **call)
        for prediction in ("x0", "v", "epsilon")
        for pipeline, sampler, steps, call in (
            ("DDIMPipeline", "ddim", 5, CLIPPED),
            ("DDPMPipeline", "ddpm", 7, {}),
            ("DDPMPipeline", "dpmpp_2m", 7, {}),
        )
    },
    "ddim with noise": Case(
        "DDIMPipeline",
        settings={"steps": 10, "eta": 0.5, "spacing": "leading", "clip": None},
        call={"batch_size": 3, "num_inference_steps": 10, "eta": 0.5},
    ),
    "ddpm with much noise": Case(
        "DDPMPipeline",
        model={"scale_shift": False},
        settings={
            "sampler": "ddpm",
            "steps": 9,
            "spacing": "linspace",
            "variance": "fixed_large",
        },
        call={"batch_size": 3, "num_inference_steps": 9},
    ),
    "patches": unasked({"patch": 2}),
    "patches, v": unasked({"patch": 2, "prediction": "v"}, sampler="dpmpp_2m", steps=16),
    "steps that do not divide": unasked({}, steps=7, eta=0.5),
    "linspace": unasked({}, steps=7, spacing="linspace"),
    "no noise on the last image": unasked({}, sampler="ddpm", variance="fixed_large"),
    "Euler": unasked({"prediction": "v"}, sampler="euler", steps=7),
    "Heun": unasked({"prediction": "v"}, sampler="heun", steps=7, spacing="linspace"),
    "Heun, linear": unasked({"schedule": "linear"}, sampler="heun", steps=9, clip=None),
    "labels, Heun": asked("labels", LABELS, {"patch": 2}, sampler="heun", guidance_scale=3.0),
    "rescaled guidance": asked("labels", LABELS, {}, guidance_rescale=0.7, guidance_scale=5.0),
    **{
        f"zero terminal SNR, {sampler}": Case(
            pipeline,
            model={"zero_terminal_snr": True, "prediction": "v", "schedule": "linear"},
            settings={"sampler": sampler, "steps": 10},
            call={"batch_size": 3, "num_inference_steps": 10, **call},
        )
        for sampler, pipeline, call in (
            ("ddim", "DDIMPipeline", CLIPPED),
            ("ddpm", "DDPMPipeline", {}),
            ("dpmpp_2m", OWN, {}),
            ("euler", OWN, {}),
        )
    },
    "own autoencoder": unasked({"latents": "kl"}, sampler="dpmpp_2m", spacing="leading", clip=4.0),
    "pretrained autoencoder": unasked({"latents": "pretrained"}, sampler="ddpm", clip=None),
    "labels": asked("labels", LABELS, {}),
    "labels, patches": asked("labels", LABELS, {"patch": 2}, sampler="dpmpp_2m", steps=6),
    "labels, placed": asked("labels", LABELS, {"patch": 2, "placement_heads": 2}),
    "words, placed": asked("prompts", PROMPTS, {"placement_heads": 1, "pooled_text": True}),
    "CLIP, placed": asked("prompts", PROMPTS, {"text": "clip", "placement_heads": 2}),
    "labels, classifier": asked("labels", LABELS, {"patch": 2}, classifier_scale=3.0),
    "classes, latents, classifier": asked(
        *("classes", [*NAMES], {"latents": "kl"}), classifier_scale=2.0, sampler="heun", clip=None
    ),
    "words, classifier": asked("prompts", PROMPTS, {}, classifier_scale=3.0),
    **{
        f"{workload}, {preset or 'as committed'}": as_sampled(workload, preset)
        for workload, preset in (
            ("iclevr", None),
            ("captions", None),
            ("iclevr", "lab6"),
            ("iclevr", "best-iclevr"),
            ("iclevr", "long-cpu"),
            ("captions", "long-cpu"),
        )
    },
    "labels, latents": asked("labels", LABELS, {"latents": "pretrained"}, clip=None),
    "classes": asked("classes", [*NAMES], {}, guidance_interval=(0.2, 0.8)),
    "classes, noise": asked("classes", [*NAMES], {"patch": 2}, sampler="ddpm", guidance_scale=1.0),
    "words": asked("prompts", PROMPTS, {}),
    "words, patches": asked(
        *("prompts", PROMPTS, {"patch": 2, "pooled_text": True}), sampler="dpmpp_2m", clip=3.0
    ),
    "words, own autoencoder": asked("prompts", PROMPTS, {"latents": "kl"}, clip=None),
    "CLIP, patches": asked("prompts", PROMPTS, {"text": "clip", "patch": 2, "pooled_text": True}),
    "CLIP, latents, clipped": asked("prompts", PROMPTS, LATENT, clip=10.0),
    **{
        f"CLIP, latents, {sampler}": Case(
            "StableDiffusionPipeline",
            "prompts",
            PROMPTS,
            LATENT,
            {"sampler": sampler, "clip": None, "steps": 5, "guidance_scale": scale},
            {"prompt": PROMPTS, "num_inference_steps": 5, "guidance_scale": scale},
        )
        for sampler, scale in (("ddim", 2.0), ("ddpm", 1.0), ("dpmpp_2m", 3.0))
    },
}


@dataclass(frozen=True)
class Drawn:
    """All folders, and the images of both sides by the case."""

    root: Path
    ours: dict[str, np.ndarray]
    theirs: dict[str, np.ndarray]


def strangers_environment(place: Path) -> Path:
    """Python in an environment that has torch and diffusers, but not this project.

    A `.pth` in a folder that is named by a `.pth` is not read: the project is installed by one.
    """
    venv.create(place)
    (packages,) = place.glob("lib/*/site-packages")
    (packages / "others.pth").write_text(sysconfig.get_path("purelib"))
    return place / "bin" / "python"


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Drawn:
    """One child process loads them all: to import diffusers takes longer than to draw."""
    root = tmp_path_factory.mktemp("export")
    ours, asks = {}, []
    for name, case in CASES.items():
        model = tiny_models.save(root / name / "model", case.condition, **case.model)
        out = root / name / "out"
        out.mkdir()
        settings = tiny_models.sample(**case.settings)
        judge = None
        if settings.classifier_scale:
            judge = tiny_models.save_classifier(root / name / "classifier", model)
        folder.write(out, model, settings, judge)
        conditions = condition_called(case.condition).read(model, case.texts)  # type: ignore[arg-type]
        images = sample(load(model, "ema", classifier=judge), settings, conditions, seed=SEED)
        ours[name] = (images / 2 + 0.5).clamp(0, 1).numpy()
        seeds = [stream_seed(SEED, number) for number in range(3)]
        asks.append({"name": name, "folder": str(out), "call": case.call, "seeds": seeds})
    (root / "cases.json").write_text(json.dumps(asks))
    python = strangers_environment(root / "venv")
    program = Path(__file__).with_name("draw_exported.py")
    done = subprocess.run(
        [str(python), str(program), str(root / "cases.json"), str(root / "drawn.npz")],
        cwd=root,
        env={**os.environ, "HF_HOME": str(root / "hub"), "HF_HUB_OFFLINE": "1", "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    return Drawn(root, ours, dict(np.load(root / "drawn.npz")))


@pytest.mark.parametrize("name", CASES)
def test_the_folder_draws_the_same_images(drawn: Drawn, name: str) -> None:
    ours, theirs = drawn.ours[name], drawn.theirs[name]
    assert str(drawn.theirs[f"{name}.pipeline"]) == CASES[name].pipeline
    inside = (ours > 0.01) & (ours < 0.99)  # or what is clipped would hide a difference
    assert inside.mean() > 0.3 and ours.std() > 0.1
    assert np.abs(ours - theirs).max() < CLOSE


@pytest.mark.parametrize(
    ("model", "settings", "said"),
    [
        (
            {"zero_terminal_snr": True},
            {"sampler": "heun"},
            "sample.sampler: heun of diffusers knows no diffusion.zero_terminal_snr; export with",
        ),
        (
            {"schedule": "straight", "prediction": "flow"},
            {"sampler": "euler"},
            "diffusion.schedule straight and diffusion.prediction flow: schedulers of diffusers",
        ),
        (
            {},
            {"guidance_weights": "last"},
            "sample.guidance_weights: an exported folder has one network and none that guides it",
        ),
    ],
)
def test_what_has_no_counterpart_is_one_line(
    tmp_path: Path, model: dict[str, Any], settings: dict[str, Any], said: str
) -> None:
    made = tiny_models.save(tmp_path / "model", **model)
    with pytest.raises(LockstepError) as refused:
        folder.write(tmp_path, made, tiny_models.sample(**settings))
    assert str(refused.value).startswith(said) and "\n" not in str(refused.value)


def test_what_is_brought_along_imports_torch_and_diffusers_alone() -> None:
    for path in folder.PARTS.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            found = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            found += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
            for name in (module.split(".")[0] for module in found):
                assert name in ("torch", "diffusers") or name in sys.stdlib_module_names, path


def test_no_folder_names_a_place_or_has_a_pickle(drawn: Drawn) -> None:
    for name in CASES:
        for path in (drawn.root / name / "out").rglob("*.*"):
            assert path.suffix in (".json", ".safetensors", ".py")
            assert str(drawn.root).encode() not in path.read_bytes()


def test_the_same_model_gives_the_same_bytes(drawn: Drawn, tmp_path: Path) -> None:
    first = drawn.root / "words, patches"
    folder.write(tmp_path, first / "model", tiny_models.sample(sampler="dpmpp_2m", clip=3.0))
    files = sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*") if p.is_file())
    assert len(files) == 8
    for file in files:
        assert (tmp_path / file).read_bytes() == (first / "out" / file).read_bytes(), file


def test_settings_stand_in_the_scheduler_and_the_index(drawn: Drawn) -> None:
    out = drawn.root / "own autoencoder" / "out"
    scheduler = json.loads((out / "scheduler/scheduler_config.json").read_text())
    assert scheduler["_class_name"] == "DPMSolverMultistepScheduler"
    assert scheduler["prediction_type"] == "sample"
    assert scheduler["timestep_spacing"] == "leading"
    assert scheduler["beta_schedule"] == "squaredcos_cap_v2"
    index = json.loads((out / "model_index.json").read_text())
    assert (index["steps"], index["clip"], index["patch"]) == (4, 4.0, 1)


@pytest.fixture(scope="module", params=["labels", "labels, placed"])
def pipe(request: pytest.FixtureRequest, drawn: Drawn) -> Any:
    """Of labels, in this process."""
    from lockstep.export.parts.pipeline import LockstepPipeline

    out = drawn.root / request.param / "out"
    from diffusers import DDIMScheduler, UNet2DModel

    from lockstep.export.parts.lockstep_condition import Condition
    from lockstep.export.parts.lockstep_placement import Placement

    placed = (out / "placement").exists()
    assert placed == ("placed" in request.param)
    return LockstepPipeline(
        UNet2DModel.from_pretrained(out / "unet"),
        DDIMScheduler.from_pretrained(out / "scheduler"),
        Condition.from_pretrained(out / "condition"),
        Placement.from_pretrained(out / "placement") if placed else None,
        patch=2 if placed else 1,
    )


def test_two_pipelines_of_the_same_parts_draw_the_same(pipe: Any) -> None:
    def draw(it: Any) -> Any:
        noise = torch.Generator().manual_seed(0)
        return it(["red", "green, blue"], generator=noise, output_type="pt").images

    first = draw(pipe)
    other = type(pipe)(**pipe.components, patch=pipe.config.patch)
    assert torch.equal(draw(other), first)
    assert torch.equal(draw(pipe), first)
    assert not pipe.unet.time_embedding._forward_hooks
    if pipe.placement is not None:
        without = type(pipe)(**{**pipe.components, "placement": None}, patch=pipe.config.patch)
        assert not torch.allclose(draw(without), first, atol=1e-3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({"prompt": "red, pink"}, "prompt: unknown 'pink'; choose from red, green, blue"),
        ({}, "prompt: missing; choose from red, green, blue"),
        ({"prompt": "red", "num_inference_steps": 101}, "num_inference_steps: 101 is out of range"),
    ],
)
def test_what_cannot_be_is_one_line(pipe: Any, call: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pipe(**call, generator=torch.Generator())


def test_half_precision_draws_about_the_same(pipe: Any) -> None:
    def draw() -> Any:
        noise = torch.Generator().manual_seed(0)
        return pipe(["red", "green, blue"], generator=noise, output_type="pt").images

    whole = draw()
    assert whole.shape == (2, 3, 16, 16)
    try:
        half = pipe.to(torch.bfloat16) and draw()
    finally:
        pipe.to(torch.float32)
    assert 0 < (half - whole).abs().mean() < 0.02


@pytest.mark.parametrize(
    ("preset", "workload"),
    [("hw5", "faces"), ("eai", "faces"), ("anime", "anime"), ("hw6", "captions")],
)
def test_published_settings_ask_for_nothing_that_diffusers_has_not(
    preset: str, workload: str
) -> None:
    params = in_force(workload, preset)
    assert params.model.patch == 1
    schedule = noise_schedule(params.diffusion)
    scheduler = scheduler_of(schedule, params.diffusion.prediction, params.sample)
    assert list(differences(scheduler, params.sample)) == []
