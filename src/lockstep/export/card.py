"""The card of an exported model: its README.md, with the front matter that a hub reads."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData
from safetensors import safe_open

from lockstep.config.schema import Params, Sample
from lockstep.config.weights import file_stem
from lockstep.core import hashing, paths
from lockstep.data import captions
from lockstep.export.folder import Exported
from lockstep.export.origin import is_evaluated
from lockstep.models.generator import FrozenConfig
from lockstep.models.text import ScratchConfig
from lockstep.report import data, git, metrics, numbers, settings
from lockstep.report.metrics import Metric
from lockstep.sampling.conditions.names import read_names
from lockstep.tracking.dvc_lock import Lock

NAME = "README.md"
DATA_CARD = "data_card.md"
_TEMPLATE = Path(__file__).with_name("templates") / "card.md"
_NO_LICENCE = "unknown"
# Folders that the weights of the network lie in.
_NETWORK = ("unet", "placement")
_ASKED = {
    "none": "like those that it was trained on",
    "labels": "with the objects that are asked for",
    "classes": "of the class that is asked for",
    "prompts": "that show what a sentence says",
}
_SOURCES = {
    "rendered": "The images are rendered by the project itself, from a seed.",
    "folder": "The images come from folders or archives, some left out by rules (`source`).",
    "addresses": "The images were downloaded from a table of addresses (`crawl.table`, `source`).",
    "photos": "The images are faces, cut out of photographs (`source`).",
    "ptt": "The images are faces, cut out of what posts of a board link to (`crawl`, `source`).",
}
_CAPTIONS = {
    "test": "Generated as requested, in order",
    "new_test": "Generated for other requests, in order",
    "images": "Generated images, the first ones",
    "strip": "From noise to clear",
}


@dataclass(frozen=True)
class Image:
    """A picture in the card's folder."""

    path: str
    caption: str


@dataclass(frozen=True)
class Row:
    """A metric as text."""

    name: str
    value: str
    meaning: str


def write(
    out: Path, params: Params, exported: Exported, lock: Lock, name: str, licence: str | None
) -> bool:
    """Write the card, and the pictures in it, into an exported folder.

    Parameters
    ----------
    name
        What the folder is loaded by: itself, or the name of a repository.
    licence
        As the hub calls it, such as `cc-by-4.0`; None leaves it to be filled in.

    Returns
    -------
    bool
        Whether there are metrics and pictures: not of a model that has not been evaluated as it is.
    """
    description, workload = exported.description, params.workload
    evaluated = is_evaluated(params, description.fingerprint, lock)
    found = tuple(_metrics(workload)) if evaluated else ()
    task = "unconditional-image-generation" if description.condition == "none" else "text-to-image"
    about = ModelCardData(
        license=licence or _NO_LICENCE,
        library_name="diffusers",
        pipeline_tag=task,
        tags=["diffusion", "lockstep", "dvc", f"condition:{description.condition}"],
        model_name=workload,
        eval_results=[_result(metric, params, task) for metric in found] or None,
    )
    text = ModelCard.from_template(
        about,
        template_path=str(_TEMPLATE),
        name=workload,
        size=description.size,
        begun=description.params.get("train.init_from_sha256"),
        asked=_ASKED[description.condition],
        weights=f"{sum(_count(out / part) for part in _NETWORK) / 1e6:.1f}",
        images=list(_pictures(out, workload)) if evaluated else [],
        use=_use(exported, params, name),
        pipeline=exported.pipeline,
        version=version("diffusers"),
        missing=", ".join(exported.missing),
        clip=isinstance(description.text, FrozenConfig),
        scratch=isinstance(description.text, ScratchConfig),
        metrics=[Row(f.name, _value(f), f.meaning) for f in found],
        seeds=len(params.sample.seeds),
        data=data.data(workload),
        source=_SOURCES[params.source.type],
        data_card=_copied_data_card(out, workload),
        license_note=_licence_note(licence),
        origin=list(_origin(out, exported, params, lock)),
        again="\n".join(_again(params, out, licence)),
        params=[(key, settings.text(_public(v))) for key, v in _params(exported, params).items()],
    )
    (out / NAME).write_text(f"{str(text).rstrip()}\n", "utf-8")
    return evaluated


def _metrics(workload: str) -> Iterator[Metric]:
    for metric in metrics.gather(workload):
        told = metric.name.endswith("_sd")  # beside the mean
        if metric.stage == "evaluate" and metric.value is not None and not told:
            yield metric


def _value(metric: Metric) -> str:
    assert metric.value is not None
    spread = f" ± {metric.text_spread}" if metric.text_spread else ""
    return numbers.text(metric.value) + spread


def _result(metric: Metric, params: Params, task: str) -> EvalResult:
    return EvalResult(
        task_type=task,
        dataset_type=params.source.type,
        dataset_name=f"{params.workload} ({params.source.type})",
        metric_type=metric.name,
        metric_name=f"{metric.name}: {metric.meaning}".removesuffix(": "),
        metric_value=metric.value,
    )


def _count(folder: Path) -> int:
    """How many weights lie in a folder's safetensors."""
    total = 0
    for path in folder.glob("*.safetensors"):
        with safe_open(path, "pt") as file:
            names = file.keys()
            total += sum(math.prod(file.get_slice(name).get_shape()) for name in names)
    return total


def _pictures(out: Path, workload: str) -> Iterator[Image]:
    for source in sorted(paths.plots(workload, "sample").glob("*.png")):
        (out / "images").mkdir(exist_ok=True)
        shutil.copyfile(source, out / "images" / source.name)
        caption = _CAPTIONS.get(source.stem, source.stem)
        yield Image(f"images/{source.name}", caption)


def _copied_data_card(out: Path, workload: str) -> str | None:
    """The name of the data card in the folder, if the images have one."""
    if not (card := paths.card(workload)).exists():
        return None
    shutil.copyfile(card, out / DATA_CARD)
    return DATA_CARD


def _use(exported: Exported, params: Params, name: str) -> str:
    """Lines of Python that load the folder and draw an image."""
    sample, asks = params.sample, _example(exported, params)
    arguments = [] if asks is None else [_quoted(asks)]
    if not exported.is_own:
        arguments.append(f"num_inference_steps={sample.steps}")
        arguments += _plain_arguments(exported, sample)
    arguments.append("generator=torch.Generator().manual_seed(0)")
    kind = "DiffusionPipeline" if exported.is_own else exported.pipeline
    more = ", trust_remote_code=True" if exported.is_own else ""
    return (
        f"import torch\nfrom diffusers import {kind}\n\n"
        f"pipe = {kind}.from_pretrained({_quoted(name)}{more})\n"
        f"image = pipe({', '.join(arguments)}).images[0]"
    )


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _plain_arguments(exported: Exported, sample: Sample) -> Iterator[str]:
    """What diffusers' own pipelines are told at each call, since no file says it."""
    if exported.pipeline == "DDIMPipeline" and sample.clip is not None:
        yield "use_clipped_model_output=True"
    if exported.pipeline != "DDPMPipeline" and sample.sampler == "ddim" and sample.eta:
        yield f"eta={sample.eta:g}"
    if exported.description.condition == "prompts":
        yield f"guidance_scale={sample.guidance_scale:g}"


def _example(exported: Exported, params: Params) -> str | None:
    """What may be asked for; None where nothing can be."""
    match exported.description.condition:
        case "none":
            return None
        case "prompts":
            path = paths.dataset(params.workload) / captions.TEST
            return next(iter(captions.read_test(path).values())) if path.exists() else "..."
        case kind:
            names = list(read_names(paths.model(params.workload)))
            return names[0] if kind == "classes" else ", ".join(names[:2])


def _licence_note(licence: str | None) -> str:
    if licence is not None:
        return f"Licence: {licence}."
    return (
        "No licence has been chosen: fill in `license` at the top of this file. The images that "
        "it was trained on may have terms of their own."
    )


def _origin(out: Path, exported: Exported, params: Params, lock: Lock) -> Iterator[tuple[str, str]]:
    workload = params.workload
    yield "training (digest of data, code and parameters)", exported.description.fingerprint
    yield "weights", file_stem(params.sample.weights)
    for part in (*_NETWORK, "classifier"):
        for file in sorted((out / part).glob("*.safetensors")):
            yield f"SHA-256 of {part}/{file.name}", hashing.sha256(file)
    if (made := lock.made.get(paths.model(workload).as_posix())) is not None:
        yield f"{paths.model(workload)} in dvc.lock", made
    classifier = paths.noisy_classifier(workload).as_posix()
    if params.sample.classifier_scale and (made := lock.made.get(classifier)) is not None:
        yield f"{classifier} in dvc.lock", made
    for path, md5 in lock.read.get(f"train@{workload}", {}).items():
        yield f"{path} in dvc.lock", md5
    if (commit := git.head(apart_from=out)) is not None:
        yield "commit", commit.name if _is_committed() else f"{commit.name}, with another dvc.lock"


def _is_committed() -> bool:
    """Whether the last commit has this dvc.lock, and so the hashes of this model."""
    lock = Path("dvc.lock")
    return lock.exists() and git.committed(lock) == lock.read_text("utf-8")


def _again(params: Params, out: Path, licence: str | None) -> Iterator[str]:
    if _is_committed() and (commit := git.head(apart_from=out)) is not None:
        yield f"git checkout {commit.name}"
    yield f"dvc repro evaluate@{params.workload}"
    chosen = "" if licence is None else f" --license {licence}"
    yield f"lockstep export {params.workload} FOLDER --weights {params.sample.weights}{chosen}"


def _params(exported: Exported, params: Params) -> dict[str, Any]:
    """What made the model, and what samples from it."""
    guide = ("noisy_classifier",) if params.sample.classifier_scale else ()
    return {**exported.description.params, **params.deciding(*guide, "sample")}


def _public(value: Any) -> Any:
    """A path without the folders above it, which are nobody's business."""
    if isinstance(value, str) and Path(value).is_absolute():
        return Path(value).name
    return value
