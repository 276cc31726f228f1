"""A trained model, with all that sampling takes, as a folder that diffusers loads."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import diffusers
import torch

from lockstep.config.networks import fields_of
from lockstep.config.schema import Sample
from lockstep.core.errors import LockstepError
from lockstep.core.files import write_json
from lockstep.export import networks
from lockstep.export.parts import lockstep_classifier
from lockstep.export.parts.lockstep_autoencoder import LockstepAutoencoder
from lockstep.export.parts.lockstep_condition import Condition
from lockstep.export.parts.pipeline import LockstepPipeline
from lockstep.export.schedulers import differences, scheduler_of
from lockstep.models.autoencoder import KLAutoencoder, KLConfig, Pretrained
from lockstep.models.generator import Description, FrozenConfig
from lockstep.models.text import ScratchConfig, pretrained, tokenizer
from lockstep.models.text.pretrained import ClipText
from lockstep.models.unet.placement import placement_names
from lockstep.sampling.conditions.names import read_names
from lockstep.sampling.sample import Trained, load

PARTS = Path(__file__).parent / "parts"
_OWN_FILES = {
    "condition": "lockstep_condition",
    "placement": "lockstep_placement",
    "classifier": "lockstep_classifier",
    "vae": "lockstep_autoencoder",
}
_LIBRARIES = ("diffusers", "transformers")


@dataclass(frozen=True)
class Exported:
    """What has been written.

    `pipeline` is the class that loads it, and `missing` what keeps it from being diffusers' own:
    nothing where it is.
    """

    pipeline: str
    missing: tuple[str, ...]
    description: Description

    @property
    def is_own(self) -> bool:
        """Whether the folder brings its pipeline along."""
        return bool(self.missing)


def write(out: Path, model: Path, settings: Sample, classifier: Path | None = None) -> Exported:
    """Write the model in a folder into the existing, empty folder `out`.

    It is sampled by `settings`, and has the weights that they name; `classifier` is the folder of
    the noisy classifier that guides it, if one does. Unconditional pixels become a
    `DDPMPipeline` or `DDIMPipeline`, prompts of a CLIP with latents a `StableDiffusionPipeline`;
    what those have no counterpart for brings a pipeline of its own.

    Raises
    ------
    LockstepError
        If a file is missing or damaged, the text encoder cannot be had, or `settings` ask for
        what an exported model cannot do.
    """
    if settings.guidance_weights is not None:
        raise LockstepError(
            "sample.guidance_weights: an exported folder has one network and none that guides it; "
            "empty it"
        )
    trained = load(model, settings.weights, classifier=classifier)
    if settings.steps > (most := trained.description.schedule.timesteps):
        raise LockstepError(
            f"sample.steps: {settings.steps} is above the {most} noise levels of the model in "
            f"{model}; set sample.steps to {most} or fewer"
        )
    trained.model.to("cpu", memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    description = trained.description
    weights = {name: tensor.cpu() for name, tensor in trained.model.state_dict().items()}
    of_unet = {
        name.removeprefix("unet."): tensor
        for name, tensor in weights.items()
        if name.startswith("unet.")
    }
    placement = networks.placement_of(description.unet, of_unet)
    unet = _unet(description, of_unet)
    clip = _clip(description)
    scheduler = scheduler_of(description.schedule, description.prediction, settings)
    missing = tuple(_missing(trained, settings, scheduler))
    parts: dict[str, Any] = {"unet": unet, "scheduler": scheduler}
    if missing:
        parts |= {
            "condition": _condition(description, model, weights),
            "placement": placement,
            "classifier": _classifier(trained),
        }
    if clip is not None:
        clip.tokenizer.model_max_length = clip.length
        parts |= {"text_encoder": clip.model.cpu(), "tokenizer": clip.tokenizer}
    parts["vae"] = _autoencoder(trained)
    build: Any
    if missing:
        build = LockstepPipeline
        parts |= {
            "patch": description.unet.patch,
            "steps": settings.steps,
            "eta": settings.eta,
            "guidance_scale": settings.guidance_scale,
            "classifier_scale": settings.classifier_scale,
            "classifier_interval": settings.classifier_interval and [*settings.classifier_interval],
            "guidance_interval": settings.guidance_interval and [*settings.guidance_interval],
            "guidance_rescale": settings.guidance_rescale,
            "clip": settings.clip,
        }
    elif description.condition == "prompts":
        build = diffusers.StableDiffusionPipeline
        parts |= {"safety_checker": None, "feature_extractor": None}
        parts["requires_safety_checker"] = False
        # That pipeline sets it so itself, and says so; its spacings here know no offset.
        scheduler.register_to_config(steps_offset=1)
    else:
        build = diffusers.DDIMPipeline if settings.sampler == "ddim" else diffusers.DDPMPipeline
        del parts["vae"]
    with quiet():
        build(**parts).save_pretrained(out)
    if missing:
        _bring_along(out)
    return Exported(build.__name__, missing, description)


def _missing(trained: Trained, settings: Sample, scheduler: Any) -> Iterator[str]:
    """What the model is or does that diffusers' own pipeline for its condition has not."""
    description = trained.description
    latent = description.reduction > 1 or not _is_pixels(trained)
    if description.unet.patch > 1:
        yield f"patches of {description.unet.patch} pixels"
    if description.labels:
        yield description.condition
    if isinstance(description.text, ScratchConfig):
        yield "a text encoder trained along"
    if description.pooled_text:
        yield "pooled text"
    if description.unet.placement_heads:
        yield "placement attention"
    if isinstance(trained.autoencoder, KLAutoencoder):
        yield "an autoencoder of its own"
    elif latent and description.text is None:
        yield "latents without a prompt"
    elif not latent and description.text is not None:
        yield "prompts for pixels"
    elif isinstance(trained.autoencoder, Pretrained):
        told = trained.autoencoder.vae.config
        if told.shift_factor or told.latents_mean or told.latents_std:
            yield "latents that are moved, not only scaled"
    if description.text is not None:
        if settings.guidance_interval is not None:
            yield "guidance in an interval"
        if settings.guidance_rescale:
            yield "rescaled guidance"
        if settings.guidance_scale < 1:
            yield f"guidance of {settings.guidance_scale:g}"
        if settings.clip is not None:
            yield f"clip {settings.clip:g}"
        if settings.spacing == "leading":
            yield "leading steps without an offset"
    yield from differences(scheduler, settings)


def _is_pixels(trained: Trained) -> bool:
    return not isinstance(trained.autoencoder, KLAutoencoder | Pretrained)


def _unet(description: Description, weights: dict[str, torch.Tensor]) -> Any:
    vector = description.labels > 0 or description.pooled_text
    side = description.shape[1] // description.unet.patch
    unet = networks.library_unet(description.unet, vector, sample_size=side)
    beside, _ = placement_names(weights)
    unet.load_state_dict({n: tensor for n, tensor in weights.items() if n not in beside})
    return unet.eval()


def _condition(
    description: Description, model: Path, weights: dict[str, torch.Tensor]
) -> Condition | None:
    """All of the generator but its U-Net; None where that is all."""
    if not description.is_conditional:
        return None
    arguments: dict[str, Any] = {
        "kind": description.condition,
        "width": description.unet.embedding_dim,
        "pooled_text": description.pooled_text,
    }
    match description.text:
        case None:
            arguments["names"] = list(read_names(model))
        case FrozenConfig(length, width):
            arguments |= {"length": length, "context": width}
        case ScratchConfig() as text:
            words = tokenizer.load(model / tokenizer.FILE).words
            arguments |= {
                # Rows of an embedding behind the last word are of words that no prompt had.
                "words": [*words][: text.words - 2],
                "length": text.length,
                "context": text.width,
                "layers": text.layers,
                "heads": text.heads,
            }
    condition = Condition(**arguments)
    condition.load_state_dict(
        {name: tensor for name, tensor in weights.items() if not name.startswith("unet.")}
    )
    return condition.eval()


def _classifier(trained: Trained) -> Any:
    if (ours := trained.classifier) is None:
        return None
    config = ours.config
    theirs = lockstep_classifier.NoisyClassifier(
        config.inputs, config.length, [*config.shape], config.width
    )
    theirs.load_state_dict(ours.state_dict())
    return theirs.eval()


def _autoencoder(trained: Trained) -> Any:
    match trained.autoencoder:
        case KLAutoencoder() as ours:
            theirs = LockstepAutoencoder(**fields_of(KLConfig, ours.config))
            theirs.load_state_dict(ours.state_dict())
            return theirs.eval()
        case Pretrained() as ours:
            return ours.vae.to("cpu", memory_format=torch.contiguous_format)
        case _:
            return None


def _clip(description: Description) -> ClipText | None:
    if not isinstance(description.text, FrozenConfig):
        return None
    with quiet():
        return pretrained.trained_with(description.params)


@contextmanager
def quiet() -> Iterator[None]:
    """Without the libraries' bars for files that take a blink, and what they warn of there."""
    libraries = [find_spec(name) and import_module(f"{name}.utils.logging") for name in _LIBRARIES]
    found = [library for library in libraries if library]
    before = [(library.is_progress_bar_enabled(), library.get_verbosity()) for library in found]
    try:
        for library in found:
            library.disable_progress_bar()
            library.set_verbosity_error()
        yield
    finally:
        for library, (shown, verbosity) in zip(found, before, strict=True):
            library.set_verbosity(verbosity)
            if shown:
                library.enable_progress_bar()


def _bring_along(out: Path) -> None:
    """Copy the code, and name it in the index: then diffusers finds it without being told."""
    index = json.loads((out / "model_index.json").read_text("utf-8"))
    index["_class_name"] = ["pipeline", LockstepPipeline.__name__]
    shutil.copyfile(PARTS / "pipeline.py", out / "pipeline.py")
    for component, name in _OWN_FILES.items():
        library, kind = index.get(component, (None, None))
        if library is not None and library not in ("diffusers", "transformers"):
            index[component] = [name, kind]
            shutil.copyfile(PARTS / f"{name}.py", out / component / f"{name}.py")
    write_json(out / "model_index.json", index)
