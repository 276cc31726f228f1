"""params.yaml -> validated, frozen dataclasses.

The file has one section per subject (`train`, `sample`, ...) and one per workload, whose own
sections override the shared ones key by key. An unknown key, a wrong type or an impossible value
is a `LockstepError` of one line that names the key.
"""

from __future__ import annotations

import dataclasses
import math
import re
from datetime import date
from itertools import count, takewhile
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from lockstep.autoencoder.kl import KLConfig
from lockstep.diffusion import NoiseSchedule
from lockstep.errors import LockstepError
from lockstep.text import SCRATCH
from lockstep.unet import CrossAttentionUNetConfig, UNetConfig

WORKLOADS = ("iclevr", "faces", "anime", "captions")

Positive = Annotated[int, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]
PositiveFloat = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


def _all_different(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if len(set(values)) < len(values):
        raise ValueError("must be all different")
    return values


def _is_day(value: str) -> str:
    date.fromisoformat(value)
    return value


Day = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\d$"), AfterValidator(_is_day)]


def _weights_name(value: str | int) -> str | int:
    if isinstance(value, str) and not re.fullmatch(r"ema|best|last|ema_0\.\d+", value):
        raise ValueError("must be ema, ema_<sigma_rel>, best, last or a step")
    return value


_STRICT = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


@dataclass(frozen=True, config=_STRICT)
class Scenes:
    """How many scenes the ray-caster draws (three pictures each), and the pictures' side."""

    count: Annotated[int, Field(ge=32)]  # test.json alone wants 32 scenes
    size: Positive
    seed: Count
    supersample: Annotated[int, Field(ge=1, le=8)]


@dataclass(frozen=True, config=_STRICT)
class Crawl:
    """Which articles of which board; days are in Taipei, and both of them are in."""

    source: Annotated[str, Field(pattern=r"^(replica|https?://[^/\s@]+)$")]
    board: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")]
    start: Day
    end: Day
    min_pushes: Annotated[int, Field(ge=-100, le=100)] | None
    replies: bool
    delay: NonNegative
    tries: Positive
    replica_articles: Positive
    replica_seed: Count


@dataclass(frozen=True, config=_STRICT)
class Download:
    """How pictures are fetched, and what is too much."""

    workers: Positive
    per_host: Positive
    tries: Positive
    seconds: PositiveFloat
    max_bytes: Positive
    max_pixels: Annotated[int, Field(gt=0, le=178_956_970)]  # Pillow opens no larger ones
    max_failed_fraction: Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True, config=_STRICT)
class Crop:
    """How faces are looked for, and which of them are kept; lengths in the picture's pixels."""

    detector: Literal["hog", "cnn"]
    megapixels: PositiveFloat
    size: Annotated[int, Field(gt=0, le=256)]  # faces are cut out at 256 and reduced
    min_box: NonNegative
    max_slope: NonNegative
    eye_ratio: Annotated[tuple[NonNegative, NonNegative], Field(strict=False)]
    nose: Annotated[tuple[float, float], Field(strict=False)]
    max_outside: Annotated[float, Field(ge=0, le=1)]
    min_sharpness: NonNegative
    duplicate_bits: Annotated[int, Field(ge=0, le=256)]


@dataclass(frozen=True, config=_STRICT)
class Merge:
    """Which folders and archives are merged, and which of their pictures are kept.

    A source is a path, or `drawn` for the two archives that the project draws. `sources_sha256`
    is empty, or has what `lockstep.content.sha256` gives for each source (null for `drawn`).
    """

    sources: Annotated[
        tuple[Annotated[str, Field(min_length=1)], ...],
        Field(strict=False, min_length=1),
        AfterValidator(_all_different),
    ]
    sources_sha256: Annotated[tuple[Sha256 | None, ...], Field(strict=False)]
    size: Positive
    min_side: Positive
    max_aspect: Annotated[float, Field(ge=1)]
    min_contrast: NonNegative
    duplicate_bits: Annotated[int, Field(ge=0, le=256)]
    drawn_count: Positive
    drawn_seed: Count


@dataclass(frozen=True, config=_STRICT)
class Caption:
    """How many pictures with a sentence the ray-caster draws, and the side of all pictures."""

    count: Annotated[int, Field(ge=64)]  # test.json wants that many different combinations
    size: Positive
    seed: Count
    supersample: Annotated[int, Field(ge=1, le=8)]


@dataclass(frozen=True, config=_STRICT)
class Dataset:
    """The shares of the scenes that are held out."""

    validation: Fraction
    judge: Fraction
    seed: Count


@dataclass(frozen=True, config=_STRICT)
class Judge:
    """The evaluator's training, or the official checkpoint instead of it."""

    checkpoint: str | None
    checkpoint_sha256: Sha256 | None
    epochs: Positive
    batch_size: Annotated[int, Field(ge=2)]  # batch norm wants two
    lr: PositiveFloat
    weight_decay: NonNegative
    precision: Literal["auto", "fp32", "bf16"]
    seed: Count


@dataclass(frozen=True, config=_STRICT)
class Autoencoder:
    """What makes latents of pictures: see `lockstep.autoencoder`.

    `channels` to `norm_groups` are those of `KLConfig`, `lr` to `seed` of its training; `name`,
    `subfolder` and `sha256` say which pretrained one.
    """

    kind: Literal["pixels", "kl", "pretrained"]
    channels: Annotated[tuple[Positive, ...], Field(strict=False, min_length=1)]
    latent_channels: Positive
    layers_per_block: Positive
    patch: Positive
    norm_groups: Positive
    lr: PositiveFloat
    steps: Positive
    batch_size: Positive
    kl_weight: NonNegative
    precision: Literal["auto", "fp32", "bf16"]
    seed: Count
    name: str | None
    subfolder: str
    sha256: Sha256 | None

    def kl(self) -> KLConfig:
        return KLConfig(
            channels=self.channels,
            latent_channels=self.latent_channels,
            layers_per_block=self.layers_per_block,
            patch=self.patch,
            norm_groups=self.norm_groups,
        )


@dataclass(frozen=True, config=_STRICT)
class Text:
    """What reads prompts: see `lockstep.text`.

    `encoder` is `scratch`, or the name or folder of a CLIP text model of transformers, in which
    case the others say nothing.
    """

    encoder: Annotated[str, Field(min_length=1)]
    encoder_sha256: Sha256 | None
    length: Positive
    min_count: Positive
    width: Positive
    layers: Positive
    heads: Positive
    forget: Fraction


@dataclass(frozen=True, config=_STRICT)
class Model:
    """The UNet: see `lockstep.unet.UNetConfig` and `CrossAttentionUNetConfig` for each field.

    With text, `attention` says which levels attend to it, with `heads` each, and `pooled_text`
    whether its mean is added to the time embedding: see `lockstep.text.PooledText`. Without,
    `attention` says which levels have self-attention, with heads of `attention_head_dim`.
    """

    channels: Annotated[tuple[Positive, ...], Field(strict=False, min_length=1)]
    layers_per_block: Positive
    attention: Annotated[tuple[bool, ...], Field(strict=False)]
    attention_head_dim: Positive | None
    heads: Positive
    pooled_text: bool
    norm_groups: Positive
    norm_eps: PositiveFloat
    dropout: Fraction
    time_embedding_dim: Positive | None
    patch: Positive
    scale_shift: bool
    gradient_checkpointing: bool

    def unet(self, channels: int = 3) -> UNetConfig:
        """For pictures or latents of so many channels. Raises `ValueError` if it cannot be."""
        return UNetConfig(
            **self._backbone(channels),
            attention=self.attention,
            attention_head_dim=self.attention_head_dim,
        )

    def cross_attention_unet(self, channels: int, width: int) -> CrossAttentionUNetConfig:
        """The same with a context of this width."""
        return CrossAttentionUNetConfig(
            **self._backbone(channels),
            cross_attention=self.attention,
            cross_attention_dim=width,
            heads=self.heads,
        )

    def _backbone(self, channels: int) -> dict[str, Any]:
        own = ("attention", "attention_head_dim", "heads", "pooled_text")
        values = {k: v for k, v in dataclasses.asdict(self).items() if k not in own}
        return {**values, "in_channels": channels, "out_channels": channels}


@dataclass(frozen=True, config=_STRICT)
class Diffusion:
    """The noise schedule, what the network predicts, and how the loss is weighted."""

    schedule: Literal["linear", "scaled_linear", "squaredcos_cap_v2"]
    timesteps: Positive
    beta_start: PositiveFloat
    beta_end: PositiveFloat
    prediction: Literal["epsilon", "v", "x0"]
    min_snr_gamma: PositiveFloat | None

    def noise_schedule(self) -> NoiseSchedule:
        return NoiseSchedule(self.schedule, self.timesteps, self.beta_start, self.beta_end)


@dataclass(frozen=True, config=_STRICT)
class Train:
    """Optimisation."""

    lr: PositiveFloat
    steps: Positive | None
    epochs: Positive | None
    batch_size: Positive
    accumulation: Positive
    flip: bool
    optimizer: Literal["adamw", "adam"]
    warmup_steps: Count
    lr_schedule: Literal["constant", "linear", "cosine"]
    weight_decay: NonNegative
    betas: Annotated[tuple[Fraction, Fraction], Field(strict=False)]
    max_grad_norm: PositiveFloat | None
    ema_decay: Fraction | None
    ema_sigma_rel: Annotated[
        tuple[Annotated[float, Field(gt=0, lt=0.28)], ...],
        Field(strict=False),
        AfterValidator(_all_different),
    ]
    condition_dropout: Annotated[float, Field(ge=0, le=1)]
    precision: Literal["auto", "fp32", "bf16", "fp16"]
    compile: bool
    seed: Count
    init_from: str | None
    init_from_sha256: Sha256 | None
    snapshots: Annotated[tuple[Positive, ...], Field(strict=False), AfterValidator(_all_different)]
    snapshot_every_epochs: Positive | None
    validate_every: Positive
    log_every: Positive
    processes: Positive
    parallel: Literal["ddp", "fsdp"]

    def averages(self) -> tuple[str, ...]:
        """The names of the averages of the weights; the first is the one that is validated."""
        constant = () if self.ema_decay is None else ("ema",)
        return (*constant, *(f"ema_{sigma_rel:g}" for sigma_rel in self.ema_sigma_rel))


@dataclass(frozen=True, config=_STRICT)
class Sample:
    """How pictures are drawn from the trained model."""

    weights: Annotated[str | Positive, AfterValidator(_weights_name)]
    sampler: Literal["ddpm", "ddim", "dpmpp_2m"]
    steps: Positive
    spacing: Literal["leading", "trailing", "linspace"]
    eta: Annotated[float, Field(ge=0, le=1)]
    variance: Literal["fixed_small", "fixed_large"]
    clip: PositiveFloat | None
    guidance_scale: NonNegative
    guidance_interval: Annotated[
        tuple[
            Annotated[float, Field(ge=0, le=1)],
            Annotated[float, Field(ge=0, le=1)],
        ]
        | None,
        Field(strict=False),
    ]
    batch_size: Positive
    count: Annotated[int, Field(ge=2)]  # a distance between sets wants two
    strip: Annotated[int, Field(ge=2)]
    processes: Positive


@dataclass(frozen=True, config=_STRICT)
class Evaluate:
    """The seeds of the sets of pictures that are drawn and scored, and what they are compared with.

    `inception` is where a file lies; what is in it has its hash beside it.
    """

    seeds: Annotated[
        tuple[Count, ...], Field(strict=False, min_length=1), AfterValidator(_all_different)
    ]
    count: Annotated[int, Field(ge=2)] | None
    reference: Annotated[str, Field(min_length=1)]
    reference_sha256: Sha256 | None
    reference_count: Annotated[int, Field(ge=2)] | None
    fid: bool
    inception: str | None
    inception_sha256: Sha256 | None
    processes: Positive


@dataclass(frozen=True, config=_STRICT)
class Sweep:
    """What is drawn over and over with another setting each time, and scored."""

    guidance_scales: Annotated[
        tuple[NonNegative, ...], Field(strict=False, min_length=1), AfterValidator(_all_different)
    ]
    samplers: Annotated[
        tuple[Literal["ddpm", "ddim", "ddim_eta_1", "dpmpp_2m"], ...],
        Field(strict=False, min_length=1),
        AfterValidator(_all_different),
    ]
    steps: Annotated[
        tuple[Positive | Literal["all"], ...],
        Field(strict=False, min_length=1),
        AfterValidator(_all_different),
    ]
    seeds: Positive


@dataclasses.dataclass(frozen=True)
class Params:
    """What is in force for one workload, shared sections and its own overrides merged.

    `source` is where the pictures of iclevr and captions come from; it is empty for the others.
    """

    workload: str
    threads: int
    checkpoint_every: int
    keep_checkpoints: int
    grid_every_epochs: int | None
    grid_every_steps: int | None
    source: str
    source_sha256: str | None
    scenes: Scenes
    crawl: Crawl
    download: Download
    crop: Crop
    merge: Merge
    caption: Caption
    dataset: Dataset
    judge: Judge
    autoencoder: Autoencoder
    text: Text
    model: Model
    diffusion: Diffusion
    train: Train
    sample: Sample
    evaluate: Evaluate
    sweep: Sweep

    @property
    def reads_text(self) -> bool:
        """Whether the conditions are prompts."""
        return _KINDS[self.workload].reads_text

    def size_multiple(self) -> int:
        """Of what the sides of pictures or latents must be multiples for the model.

        Raises `ValueError` if there is no such model.
        """
        model = self.model
        unet = model.cross_attention_unet(4, 1) if self.reads_text else model.unet()
        return unet.size_multiple

    def values(self, *sections: str) -> dict[str, Any]:
        """`{"train.lr": 0.001, ...}`: the values of these sections as JSON has them."""
        return {
            f"{name}.{key}": list(value) if isinstance(value, tuple) else value
            for name in sections
            for key, value in dataclasses.asdict(getattr(self, name)).items()
        }

    def deciding(self, *sections: str) -> dict[str, Any]:
        """`values` without those that leave the result as it is, up to rounding at most.

        `train.init_from` is where a file lies; what is in it has its hash beside it. The others
        say how patiently a web server is asked.
        """
        left_out = ("processes", "parallel", "init_from", "inception", *_PATIENCE)
        return {
            key: value
            for key, value in self.values(*sections).items()
            if key.split(".")[1] not in left_out
        }

    def with_steps(self, pictures: int) -> Params:
        """The same with epochs made steps, given how many pictures there are.

        Raises `LockstepError` if the steps are too few for what is to happen at some of them.
        """

        def after(epochs: int) -> int:
            return math.ceil(epochs * pictures / self.train.batch_size)

        train = self.train
        if train.epochs is not None:
            train = dataclasses.replace(train, steps=after(train.epochs), epochs=None)
            _check_steps(train, f"{self.train.epochs} epochs of {pictures} pictures")
        every, steps = train.snapshot_every_epochs, train.steps
        if every is not None and steps is not None:
            more = takewhile(lambda step: step <= steps, map(after, count(every, every)))
            snapshots = tuple(sorted({*train.snapshots, *more}))
            train = dataclasses.replace(train, snapshots=snapshots, snapshot_every_epochs=None)
        return dataclasses.replace(self, train=train)

    def origin(self) -> dict[str, Any]:
        """The values that decide the pictures of scenes."""
        section = _KINDS[self.workload].side
        if self.source == "rendered":
            return {"source": self.source, **self.values(section)}
        return {
            "source": self.source,
            "source_sha256": self.source_sha256,
            f"{section}.size": getattr(self, section).size,
        }


SECTIONS: dict[str, type] = {
    "scenes": Scenes,
    "crawl": Crawl,
    "download": Download,
    "crop": Crop,
    "merge": Merge,
    "caption": Caption,
    "dataset": Dataset,
    "judge": Judge,
    "autoencoder": Autoencoder,
    "text": Text,
    "model": Model,
    "diffusion": Diffusion,
    "train": Train,
    "sample": Sample,
    "evaluate": Evaluate,
    "sweep": Sweep,
}

# What stands beside the sections: at the top, and in a workload where its pictures come from.
_TOP: dict[str, TypeAdapter[Any]] = {
    "threads": TypeAdapter(Positive),
    "checkpoint_every": TypeAdapter(Positive),
    "keep_checkpoints": TypeAdapter(Positive),
    "grid_every_epochs": TypeAdapter(Positive | None),
    "grid_every_steps": TypeAdapter(Positive | None),
}
# Of those, what a workload may have of its own.
_OWN_TOO = {name: _TOP[name] for name in ("grid_every_epochs", "grid_every_steps")}
_ORIGIN: dict[str, TypeAdapter[Any]] = {
    "source": TypeAdapter(Annotated[str, Field(min_length=1)]),
    "source_sha256": TypeAdapter(Sha256 | None),
}
_LEAST_LATENT_CLIP = 2.5
_PATIENCE = ("delay", "tries", "workers", "per_host", "seconds", "max_failed_fraction")


@dataclasses.dataclass(frozen=True)
class _Kind:
    """In what a workload differs from the others.

    Parameters
    ----------
    origin
        What stands beside its sections.
    side
        The section in which `size` is the side of its pictures.
    trains_judge
        Whether its evaluator learns from pictures that are kept from the generator.
    official_judge
        Whether `judge.checkpoint` can stand for it.
    reads_text
        Whether its conditions are prompts.
    """

    origin: dict[str, TypeAdapter[Any]]
    side: str
    trains_judge: bool
    official_judge: bool = False
    reads_text: bool = False


_KINDS = {
    "iclevr": _Kind(_ORIGIN, side="scenes", trains_judge=True, official_judge=True),
    "faces": _Kind({}, side="crop", trains_judge=False),
    "anime": _Kind({}, side="merge", trains_judge=True),
    "captions": _Kind(_ORIGIN, side="caption", trains_judge=True, reads_text=True),
}


class _Loader(yaml.SafeLoader):
    """YAML 1.2 floats: PyYAML follows 1.1, to which `1e-05`, as DVC writes it, is a string."""


_Loader.yaml_implicit_resolvers = {
    first: list(resolvers) for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"),
    list("-+.0123456789"),
)


def read(path: Path) -> dict[str, Any]:
    """The file as nested dicts, floats as floats. Raises `LockstepError` if it is not that."""
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except FileNotFoundError:
        raise LockstepError(f"{path}: no such file; run from the project's folder") from None
    except (yaml.YAMLError, ValueError) as error:  # a day such as 2024-02-30; another encoding
        reason = " ".join(str(error).split())
        raise LockstepError(f"{path}: not valid YAML: {reason}") from None
    if not isinstance(document, dict):
        raise LockstepError(f"{path}: expected sections, found {type(document).__name__}")
    return document


def _one_line(error: ValidationError, path: Path, prefix: str) -> LockstepError:
    first = error.errors(include_url=False)[0]
    key = ".".join([prefix, *(str(part) for part in first["loc"])]).strip(".")
    if first["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        return LockstepError(f"{path}: {key}: unknown parameter; remove it or mend its name")
    if first["type"] in ("missing", "missing_argument"):
        return LockstepError(f"{path}: {key}: missing parameter; give it a value")
    message = first["msg"][:1].lower() + first["msg"][1:]
    return LockstepError(f"{path}: {key}: {message}, not {first['input']!r}")


def _mapping(path: Path, key: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise LockstepError(f"{path}: {key}: expected a section of `name: value`, not {value!r}")
    return {str(name): inner for name, inner in value.items()}


def parse(document: dict[str, Any], workload: str, path: Path = Path("params.yaml")) -> Params:
    """Validate a whole document and give what is in force for `workload`.

    `path` only names the file in messages. Raises `LockstepError`.
    """
    if workload not in WORKLOADS:
        raise LockstepError(f"unknown workload {workload!r}; choose from {', '.join(WORKLOADS)}")
    for key in document:
        if key not in SECTIONS and key not in WORKLOADS and key not in _TOP:
            raise LockstepError(
                f"{path}: {key}: unknown section or parameter; remove it or mend its name"
            )
    own = _mapping(path, workload, document.get(workload))
    origin = _KINDS[workload].origin
    for key in own:
        if key not in SECTIONS and key not in origin and key not in _OWN_TOO:
            raise LockstepError(f"{path}: {workload}.{key}: unknown parameter; remove it")

    values: dict[str, Any] = {"source": "", "source_sha256": None}
    given = {name: adapter for name, adapter in _OWN_TOO.items() if name in own}
    for place, prefix, adapters in (
        (document, "", _TOP),
        (own, f"{workload}.", {**origin, **given}),
    ):
        for name, adapter in adapters.items():
            try:
                values[name] = adapter.validate_python(place.get(name), strict=True)
            except ValidationError as error:
                raise _one_line(error, path, f"{prefix}{name}") from None
    for name, kind in SECTIONS.items():
        shared = _mapping(path, name, document.get(name))
        overrides = _mapping(path, f"{workload}.{name}", own.get(name))
        # The shared values on their own too: an override must not hide a mistake in them.
        for prefix, merged in ((name, shared), (f"{workload}.{name}", {**shared, **overrides})):
            try:
                values[name] = kind(**merged)
            except ValidationError as error:
                raise _one_line(error, path, prefix) from None
    params = Params(workload=workload, **values)
    _check_combinations(params, path)
    return params


def _check_combinations(params: Params, path: Path) -> None:
    """What each value alone cannot tell: that the sections fit together."""
    where = f"{path} ({params.workload})"
    kind = _KINDS[params.workload]
    _check_sizes(params, where, kind)
    if params.crawl.start > params.crawl.end:
        raise LockstepError(
            f"{where}: crawl.start: {params.crawl.start} is after crawl.end ({params.crawl.end})"
        )
    merge = params.merge
    if merge.sources_sha256 and len(merge.sources_sha256) != len(merge.sources):
        raise LockstepError(
            f"{where}: merge.sources_sha256: {len(merge.sources_sha256)} hashes for "
            f"{len(merge.sources)} sources; give one for each, in their order, or none"
        )
    for name in ("eye_ratio", "nose"):
        low, high = getattr(params.crop, name)
        if low >= high:
            raise LockstepError(f"{where}: crop.{name}: {[low, high]} is empty; swap the two")
    try:
        params.diffusion.noise_schedule()
    except ValueError as error:
        raise LockstepError(f"{where}: diffusion: {error}") from None
    steps, timesteps = params.sample.steps, params.diffusion.timesteps
    if steps > timesteps:
        raise LockstepError(
            f"{where}: sample.steps: {steps} is above diffusion.timesteps ({timesteps}); lower it"
        )
    most = max((n for n in params.sweep.steps if n != "all"), default=0)
    if most > timesteps:
        raise LockstepError(
            f"{where}: sweep.steps: {most} is above diffusion.timesteps ({timesteps}); lower it"
        )
    interval = params.sample.guidance_interval
    if interval is not None and interval[0] >= interval[1]:
        raise LockstepError(f"{where}: sample.guidance_interval: {list(interval)} is empty")
    if params.dataset.validation + params.dataset.judge >= 1:
        raise LockstepError(
            f"{where}: dataset.validation + dataset.judge leave nothing to train on; lower them"
        )
    if kind.trains_judge and params.dataset.judge == 0:
        official = kind.official_judge and params.judge.checkpoint is not None
        instead = ", or give judge.checkpoint" if kind.official_judge else ""
        if not official:
            raise LockstepError(
                f"{where}: dataset.judge: 0.0 leaves no pictures to train the evaluator on; raise "
                f"it{instead}"
            )
    if params.sweep.seeds > len(params.evaluate.seeds):
        raise LockstepError(
            f"{where}: sweep.seeds: {params.sweep.seeds} is more than evaluate.seeds has; lower it"
        )
    _check_training(params, where)


def _check_sizes(params: Params, where: str, kind: _Kind) -> None:
    """Whether pictures become latents, and latents can be halved as often as the model wants."""
    autoencoder, reduction = params.autoencoder, 1
    if autoencoder.kind == "pretrained" and autoencoder.name is None:
        raise LockstepError(
            f"{where}: autoencoder.name: empty; name the pretrained one, or its folder"
        )
    try:
        if autoencoder.kind == "kl":
            reduction = autoencoder.kl().reduction
    except ValueError as error:
        raise LockstepError(f"{where}: autoencoder: {error}") from None
    try:
        multiple = params.size_multiple() * reduction
    except ValueError as error:
        raise LockstepError(f"{where}: model: {error}") from None
    if params.text.encoder == SCRATCH and params.text.width % params.text.heads:
        raise LockstepError(
            f"{where}: text.width: {params.text.width} is not a multiple of text.heads "
            f"({params.text.heads}); change one of them"
        )
    size = getattr(params, kind.side).size
    if autoencoder.kind != "pretrained" and size % multiple:
        and_more = ", and the autoencoder's reduction" if reduction > 1 else ""
        raise LockstepError(
            f"{where}: {kind.side}.size: {size} is not a multiple of {multiple}, as model.patch "
            f"and the number of model.channels{and_more} want; change one of them"
        )
    clip = params.sample.clip
    if autoencoder.kind != "pixels" and clip is not None and clip < _LEAST_LATENT_CLIP:
        raise LockstepError(
            f"{where}: sample.clip: {clip} is for pixels, and latents have unit variance; "
            "empty it, or set it to 10.0"
        )
    if params.train.flip and (kind.reads_text or autoencoder.kind != "pixels"):
        raise LockstepError(
            f"{where}: train.flip: latents cannot be mirrored, and prompts may speak of left and "
            "right; set it to false"
        )


def _check_training(params: Params, where: str) -> None:
    train = params.train
    if (train.steps is None) == (train.epochs is None):
        said = "both empty; give one" if train.steps is None else "both given; leave one empty"
        raise LockstepError(f"{where}: train.steps and train.epochs are {said}")
    _check_steps(train, where)
    if train.batch_size < train.accumulation * train.processes:
        raise LockstepError(
            f"{where}: train.batch_size: {train.batch_size} is less than train.accumulation x "
            f"train.processes ({train.accumulation} x {train.processes}), a picture each; raise it"
        )
    if train.init_from is None and train.init_from_sha256 is not None:
        raise LockstepError(
            f"{where}: train.init_from is empty and its hash is not; empty train.init_from_sha256"
        )
    if train.precision == "fp16" and train.parallel == "fsdp":
        raise LockstepError(f"{where}: train.precision: fp16 is not for fsdp; set bf16")
    weights = params.sample.weights
    offered: tuple[str | int, ...] = (*train.averages(), "last", *train.snapshots)
    if params.dataset.validation > 0:
        offered = ("best", *offered)
    is_step = isinstance(weights, int) and train.snapshot_every_epochs is not None
    if weights not in offered and not is_step:
        raise LockstepError(
            f"{where}: sample.weights: {weights} is none of what train keeps "
            f"({', '.join(map(str, offered))}); choose one of them"
        )


def _check_steps(train: Train, where: str) -> None:
    steps = math.inf if train.steps is None else train.steps
    last = {"warmup_steps": train.warmup_steps, "snapshots": max(train.snapshots, default=0)}
    for name, step in last.items():
        if step > steps:
            raise LockstepError(
                f"{where}: train.{name}: {step} is above train.steps ({steps}); lower it"
            )


def load(workload: str, path: Path = Path("params.yaml")) -> Params:
    """What is in force for `workload` in the file at `path`. Raises `LockstepError`."""
    return parse(read(path), workload, path)
