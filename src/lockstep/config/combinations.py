"""What each value of params.yaml alone cannot tell: that the sections fit together."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from lockstep.config.schema import SCRATCH, Diffusion, Params, Train
from lockstep.config.sources import Faces, Folder, Merged, Photos, Rendered
from lockstep.config.weights import WIDEST, averages_of, sigma_rel_of
from lockstep.core.errors import LockstepError

_LEAST_LATENT_CLIP = 2.5
_FEWEST_CAPTIONED = 64


def check_combinations(params: Params, path: Path, of: str = "") -> None:
    """Raise `LockstepError` on the first pair of values that cannot be together.

    `of` stands before what it says.
    """
    where = f"{path} ({params.workload})"
    for check in (_misfits_of_sizes, _misfits_of_source, _misfits, _misfits_of_training):
        for misfit in check(params):
            raise LockstepError(f"{where}: {of}{misfit}")


def _misfits(params: Params) -> Iterator[str]:
    steps, timesteps = params.sample.steps, params.diffusion.timesteps
    if steps > timesteps:
        yield f"sample.steps: {steps} is above diffusion.timesteps ({timesteps}); lower it"
    most = max((n for n in params.sweep.steps if n != "all"), default=0)
    if most > timesteps:
        yield f"sweep.steps: {most} is above diffusion.timesteps ({timesteps}); lower it"
    for name in ("guidance_interval", "classifier_interval"):
        interval = getattr(params.sample, name)
        if interval is not None and interval[0] >= interval[1]:
            yield f"sample.{name}: {list(interval)} is empty"
    if params.dataset.validation + params.dataset.evaluator >= 1:
        yield "dataset.validation + dataset.evaluator leave nothing to train on; lower them"
    if params.model.placement_heads and params.condition == "none":
        yield (
            f"model.placement_heads: {params.model.placement_heads} are for labels or words, and "
            "the condition is none; set it to 0"
        )
    if params.noisy_classifier.steps and params.condition == "none":
        yield (
            f"noisy_classifier.steps: {params.noisy_classifier.steps} are for labels, classes or "
            "prompts, and the condition is none; set it to 0"
        )
    if params.noisy_classifier.steps and params.reads_text and params.text.encoder != SCRATCH:
        yield (
            f"noisy_classifier.steps: {params.noisy_classifier.steps}, of a classifier that reads "
            f"words, while text.encoder is not {SCRATCH}; set it and sample.classifier_scale to 0"
        )
    scale = params.sample.classifier_scale
    if scale and not params.noisy_classifier.steps:
        yield (
            f"sample.classifier_scale: {scale:g} guides by a classifier of noisy images, and "
            "noisy_classifier.steps is 0; raise that, or set this to 0"
        )
    evaluator = params.evaluator
    # A shared checkpoint means nothing to evaluators of other types, and is no mistake there.
    official = evaluator.type == "classifier" and evaluator.checkpoint is not None
    if evaluator.type != "dlib" and not official and params.dataset.evaluator == 0:
        instead = ", or give evaluator.checkpoint" if evaluator.type == "classifier" else ""
        yield (
            f"dataset.evaluator: 0.0 leaves no images to train the evaluator on; raise it{instead}"
        )
    if params.sweep.seeds > len(params.sample.seeds):
        yield f"sweep.seeds: {params.sweep.seeds} is more than sample.seeds has; lower it"


def _misfits_of_source(params: Params) -> Iterator[str]:
    if params.crawl.start > params.crawl.end:
        yield f"crawl.start: {params.crawl.start} is after crawl.end ({params.crawl.end})"
    if params.source.type == "addresses":
        if params.crawl.table is None:
            yield "crawl.table: empty; name the table of addresses: `lockstep add` does"
        if (params.crawl.text_column is not None) != params.reads_text:
            yield (
                "crawl.text_column: the column with the sentences is for the condition prompts, "
                "which wants one; name it, or empty it"
            )
    match source := params.source:
        case Rendered() if params.condition == "prompts" and source.count < _FEWEST_CAPTIONED:
            yield (
                f"source.count: {source.count} is below {_FEWEST_CAPTIONED}, the different "
                "combinations that test.json wants; raise it"
            )
        case Merged() if "synthetic" in source.paths and (
            source.synthetic_count is None or source.synthetic_seed is None
        ):
            yield (
                "source.synthetic_count and source.synthetic_seed: missing; the path synthetic "
                "wants both"
            )
        case Folder() | Merged() | Photos():
            given, paths = len(source.sha256), len(source.paths)
            if given != paths and (given or isinstance(source, Folder)):
                yield (
                    f"source.sha256: {given} hashes for {paths} paths; give one for each, in "
                    "their order: `lockstep add` writes them"
                )
    if isinstance(source, Faces):
        for name in ("eye_ratio", "nose"):
            low, high = getattr(source, name)
            if low >= high:
                yield f"source.{name}: {[low, high]} is empty; swap the two"


def _misfits_of_sizes(params: Params) -> Iterator[str]:
    """Whether images become latents, and latents can be halved as often as the model wants."""
    autoencoder = params.autoencoder
    if autoencoder.kind == "pretrained" and autoencoder.name is None:
        yield "autoencoder.name: empty; name the pretrained one, or its folder"
    reduction = autoencoder.reduction if autoencoder.kind == "kl" else 1
    try:
        unet = params.model.cross_attention_unet(4, 1) if params.reads_text else params.model.unet()
    except ValueError as error:
        yield f"model: {error}"
        return
    multiple = unet.size_multiple * reduction
    if params.text.encoder == SCRATCH and params.text.width % params.text.heads:
        yield (
            f"text.width: {params.text.width} is not a multiple of text.heads "
            f"({params.text.heads}); change one of them"
        )
    size = params.source.size
    if autoencoder.kind != "pretrained" and size % multiple:
        and_more = ", and the autoencoder's reduction" if reduction > 1 else ""
        yield (
            f"source.size: {size} is not a multiple of {multiple}, as model.patch "
            f"and the number of model.channels{and_more} want; change one of them"
        )
    clip = params.sample.clip
    if autoencoder.kind != "pixels" and clip is not None and clip < _LEAST_LATENT_CLIP:
        yield (
            f"sample.clip: {clip} is for pixels, and latents have unit variance; empty it, or "
            "set it to 10.0"
        )
    flips = {"train": params.train.flip}
    flips["noisy_classifier"] = params.noisy_classifier.flip and params.noisy_classifier.steps > 0
    for section, flip in flips.items():
        if flip and (params.reads_text or autoencoder.kind != "pixels"):
            yield (
                f"{section}.flip: latents cannot be mirrored, and prompts may speak of left and "
                "right; set it to false"
            )


def _misfits_of_training(params: Params) -> Iterator[str]:
    train = params.train
    if (train.steps is None) == (train.epochs is None):
        said = "both empty; give one" if train.steps is None else "both given; leave one empty"
        yield f"train.steps and train.epochs are {said}"
    yield from _late_steps(train)
    if train.batch_size < train.accumulation * train.processes:
        yield (
            f"train.batch_size: {train.batch_size} is less than train.accumulation x "
            f"train.processes ({train.accumulation} x {train.processes}), an image each; raise it"
        )
    yield from _misfits_of_diffusion(params.diffusion)
    if params.diffusion.snr_plus_one and params.diffusion.min_snr_gamma is None:
        yield (
            "diffusion.snr_plus_one is true and diffusion.min_snr_gamma empty: set the latter, "
            "to 10.0 say, or the former to false"
        )
    if train.init_from is None and train.init_from_sha256 is not None:
        yield "train.init_from is empty and its hash is not; empty train.init_from_sha256"
    if train.precision == "fp16" and train.parallel == "fsdp":
        yield "train.precision: fp16 is not for fsdp; set bf16"
    if train.optimizer == "muon" and train.parallel == "fsdp":
        yield "train.optimizer: muon wants whole matrices, and fsdp cuts them; set ddp or adamw"
    best = ("best",) if params.dataset.validation > 0 else ()
    averages = averages_of(train.ema_decay, train.ema_sigma_rel)
    offered: tuple[str | int, ...] = (*best, *averages, "last", *train.snapshots)
    for name in ("weights", "guidance_weights"):
        weights = getattr(params.sample, name)
        is_step = isinstance(weights, int) and train.snapshot_every_epochs is not None
        # Any width is made of the others (lockstep.models.post_hoc).
        is_made = 0 < (sigma_rel_of(weights) or 0) < WIDEST and train.ema_sigma_rel
        if weights is not None and weights not in offered and not (is_step or is_made):
            yield (
                f"sample.{name}: {weights} is none of what train keeps "
                f"({', '.join(map(str, offered))}); choose one of them"
            )
    if params.sample.guidance_weights == params.sample.weights:
        yield (
            f"sample.guidance_weights: {params.sample.weights} is sample.weights too, and a model "
            "cannot guide itself; name worse ones, or empty it"
        )


def _misfits_of_diffusion(diffusion: Diffusion) -> Iterator[str]:
    """What a last noise level of nothing but noise asks for."""
    if diffusion.schedule == "straight":
        noise = "the last level of diffusion.schedule straight"
    elif diffusion.zero_terminal_snr:
        noise = "the last level of diffusion.zero_terminal_snr"
    else:
        return
    if diffusion.prediction == "epsilon":
        yield (
            f"diffusion.prediction: epsilon says nothing of the image at {noise}; set v, x0 or flow"
        )
    if diffusion.min_snr_gamma is not None and not diffusion.snr_plus_one:
        yield (
            f"diffusion.min_snr_gamma: min(SNR, gamma) is 0 at {noise}, where nothing would be "
            "learned; set diffusion.snr_plus_one to true, or empty it"
        )


def check_steps(train: Train, where: str) -> None:
    """Raise `LockstepError` if something is to happen after the last step."""
    for late in _late_steps(train):
        raise LockstepError(f"{where}: {late}")


def _late_steps(train: Train) -> Iterator[str]:
    steps = math.inf if train.steps is None else train.steps
    last = {"warmup_steps": train.warmup_steps, "snapshots": max(train.snapshots, default=0)}
    for name, step in last.items():
        if step > steps:
            yield f"train.{name}: {step} is above train.steps ({steps}); lower it"
