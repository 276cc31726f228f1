"""params.yaml's sections, which of them a workload's kinds allow, and what is in force.

A value that cannot be is pydantic's `ValidationError`, of which `lockstep.config.load` makes one
line.
"""

import dataclasses
from datetime import date
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic.dataclasses import dataclass

from lockstep.config.document import SHARED_NAMES, TOP_NAMES
from lockstep.config.fields import (
    STRICT,
    AtLeastTwo,
    Condition,
    Count,
    Distinct,
    Fraction,
    Many,
    NonEmpty,
    NonNegative,
    Pair,
    Positive,
    PositiveFloat,
    Sha256,
    Share,
    all_different,
)
from lockstep.config.networks import KLConfig, UNetSettings
from lockstep.config.sources import Source
from lockstep.config.weights import WIDEST, powers_of, sigma_rel_of
from lockstep.core.cpus import cores_for_auto

SCRATCH = "scratch"
"""The value of `text.encoder` for the encoder that is trained along."""
REPLICA = "replica"
"""The value of `crawl.source` for the board that the project draws."""

UserAgent = Annotated[str, Field(pattern=r"^[!-~](?:[ -~]*[!-~])?$")]  # what a header may have
Threads = Annotated[Positive, BeforeValidator(cores_for_auto)]


def _is_day(value: str) -> str:
    date.fromisoformat(value)
    return value


Day = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\d$"), AfterValidator(_is_day)]


def _is_site(value: str) -> str:
    parts = urlsplit(value)
    if value != REPLICA and (parts.port == 0 or not parts.hostname):  # other ports raise ValueError
        raise ValueError("must have a host, and a port that can be if it has one")
    return value


def _has_a_name(sigma_rel: float) -> float:
    (name,) = powers_of((sigma_rel,))
    if sigma_rel_of(name) != sigma_rel:
        raise ValueError("must be 0.0001 or more, with at most six digits, to be part of a name")
    return sigma_rel


def _weights_name(value: str | int) -> str | int:
    if isinstance(value, int) or value in ("ema", "best", "last"):
        return value
    if (sigma_rel := sigma_rel_of(value)) is None:
        raise ValueError("must be ema, ema_<sigma_rel>, best, last or a step")
    (name,) = powers_of((_has_a_name(sigma_rel),))  # ema_0.1, also of ema_0.10
    return name


@dataclass(frozen=True, config=STRICT)
class Card:
    """What only a person can say of a set of images, for its data card; None: not said yet.

    `license` is a name of the Hugging Face hub's, the others are Markdown.
    """

    license: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.+-]*$")] | None
    origin: NonEmpty | None
    contact: NonEmpty | None
    rights: NonEmpty | None
    consent: NonEmpty | None


@dataclass(frozen=True, config=STRICT)
class Crawl:
    """Which articles of which board; days are in Taipei, and both of them are in.

    Of a source of type addresses there is a table instead, with the column that has them, and that
    with what their images show, if it is to be read.
    """

    table: NonEmpty | None
    table_sha256: Sha256 | None
    column: NonEmpty
    text_column: NonEmpty | None
    source: Annotated[
        str, Field(pattern=r"^(replica|https?://[^/\s@?#\\]+)$"), AfterValidator(_is_site)
    ]
    board: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")]
    start: Day
    end: Day
    min_pushes: Annotated[int, Field(ge=-100, le=100)] | None
    replies: bool
    user_agent: UserAgent
    delay: NonNegative
    tries: Positive
    max_failed_fraction: Share
    replica_articles: Positive
    replica_seed: Count


@dataclass(frozen=True, config=STRICT)
class Download:
    """How images are fetched, and what is too much."""

    workers: Positive
    per_host: Positive
    tries: Positive
    seconds: PositiveFloat
    max_bytes: Positive
    max_pixels: Annotated[int, Field(gt=0, le=178_956_970)]  # Pillow opens no larger ones
    max_failed_fraction: Share
    user_agent: UserAgent
    respect_opt_outs: bool


@dataclass(frozen=True, config=STRICT)
class Dataset:
    """The shares of the scenes (or images) that are held out."""

    validation: Fraction
    evaluator: Fraction
    seed: Count


@dataclass(frozen=True, config=STRICT)
class Evaluator:
    """The network that measures: its kind, and its training or the official checkpoint instead."""

    type: Literal["classifier", "rotation", "scenes", "dlib"]
    checkpoint: str | None
    checkpoint_sha256: Sha256 | None
    epochs: Positive
    batch_size: AtLeastTwo  # batch norm wants two
    lr: PositiveFloat
    weight_decay: NonNegative
    precision: Literal["auto", "fp32", "bf16"]
    seed: Count


@dataclass(frozen=True, config=STRICT, kw_only=True)
class Autoencoder(KLConfig):
    """What makes latents of images: see `lockstep.models.autoencoder`.

    Besides the fields of `KLConfig`, `lr` to `seed` are those of its training; `name`,
    `subfolder` and `sha256` say which pretrained one. So many `processes` encode.
    """

    channels: Annotated[Many[Positive], Field(min_length=1)]
    kind: Literal["pixels", "kl", "pretrained"]
    lr: PositiveFloat
    steps: Positive
    batch_size: Positive
    kl_weight: NonNegative
    precision: Literal["auto", "fp32", "bf16"]
    seed: Count
    name: str | None
    subfolder: str
    sha256: Sha256 | None
    processes: Positive


@dataclass(frozen=True, config=STRICT)
class Text:
    """What reads prompts: see `lockstep.models.text`.

    `encoder` is `scratch`, or the name or folder of a CLIP text model of transformers, in which
    case the others say nothing.
    """

    encoder: NonEmpty
    encoder_sha256: Sha256 | None
    length: Positive
    min_count: Positive
    width: Positive
    layers: Positive
    heads: Positive
    forget: Fraction


@dataclass(frozen=True, config=STRICT)
class NoisyClassifier:
    """The classifier of noisy images that can guide sampling; no `steps` make none."""

    steps: Count
    batch_size: AtLeastTwo  # batch norm wants two
    width: Positive
    flip: bool
    lr: PositiveFloat
    muon_lr: PositiveFloat
    weight_decay: NonNegative
    precision: Literal["auto", "fp32", "bf16"]
    seed: Count


@dataclass(frozen=True, config=STRICT, kw_only=True)
class Model(UNetSettings):
    """The UNet: see `UNetSettings`, `Backbone` and `CrossAttentionUNetConfig` for each field."""

    channels: Annotated[Many[Positive], Field(min_length=1)]
    dropout: Fraction
    attention: Many[bool]
    attention_head_dim: Positive | None
    heads: Positive
    pooled_text: bool
    zero_residuals: bool


@dataclass(frozen=True, config=STRICT)
class Diffusion:
    """The noise schedule, what the network predicts, which levels it learns, and their weights."""

    schedule: Literal["linear", "scaled_linear", "squaredcos_cap_v2", "straight"]
    timesteps: Positive
    beta_start: PositiveFloat
    beta_end: PositiveFloat
    zero_terminal_snr: bool
    shift: PositiveFloat
    times: Literal["uniform", "logit_normal"]
    prediction: Literal["epsilon", "v", "x0", "flow"]
    min_snr_gamma: PositiveFloat | None
    snr_plus_one: bool

    def __post_init__(self) -> None:
        if not 0 < self.beta_start <= self.beta_end < 1:
            raise ValueError(
                f"beta_start and beta_end are {self.beta_start} and {self.beta_end}; give numbers "
                "between 0 and 1, the first not above the second"
            )


@dataclass(frozen=True, config=STRICT)
class Train:
    """Optimisation."""

    lr: PositiveFloat
    steps: Positive | None
    epochs: Positive | None
    batch_size: Positive
    accumulation: Positive
    flip: bool
    optimizer: Literal["adamw", "adam", "muon"]
    muon_lr: PositiveFloat
    warmup_steps: Count
    lr_schedule: Literal["constant", "linear", "cosine"]
    weight_decay: NonNegative
    betas: Pair[Fraction]
    max_grad_norm: PositiveFloat | None
    ema_decay: Fraction | None
    ema_sigma_rel: Distinct[Annotated[float, Field(gt=0, lt=WIDEST), AfterValidator(_has_a_name)]]
    condition_dropout: Share
    precision: Literal["auto", "fp32", "bf16", "fp16"]
    compile: bool
    seed: Count
    init_from: str | None
    init_from_sha256: Sha256 | None
    snapshots: Distinct[Positive]
    snapshot_every_epochs: Positive | None
    validate_every: Positive
    log_every: Positive
    processes: Positive
    parallel: Literal["ddp", "fsdp"]


@dataclass(frozen=True, config=STRICT)
class Sample:
    """How images are sampled from the trained model."""

    weights: Annotated[str | Positive, AfterValidator(_weights_name)]
    sampler: Literal["ddpm", "ddim", "dpmpp_2m", "euler", "heun"]
    steps: Positive
    spacing: Literal["leading", "trailing", "linspace"]
    eta: Share
    variance: Literal["fixed_small", "fixed_large"]
    clip: PositiveFloat | None
    guidance_scale: NonNegative
    guidance_interval: Annotated[tuple[Share, Share] | None, Field(strict=False)]
    guidance_rescale: Share
    guidance_weights: Annotated[str | Positive, AfterValidator(_weights_name)] | None
    classifier_scale: NonNegative
    classifier_interval: Annotated[tuple[Share, Share] | None, Field(strict=False)]
    batch_size: Positive
    count: AtLeastTwo  # a distance between sets wants two
    strip: AtLeastTwo
    seeds: Annotated[Many[Count], Field(min_length=1), AfterValidator(all_different)]
    processes: Positive


@dataclass(frozen=True, config=STRICT)
class Evaluate:
    """How many generated images are scored, and what they are compared with.

    `inception` is where a file lies; what is in it has its hash beside it. `spaces` are those of
    features beside the evaluator's own; `dinov2` and `clip` are folders, whose hashes are beside
    them, or names of models on the Hugging Face hub. `neighbours` is the k of precision and recall.
    """

    count: AtLeastTwo | None
    reference: NonEmpty
    reference_sha256: Sha256 | None
    reference_count: AtLeastTwo | None
    fid: bool
    inception: str | None
    inception_sha256: Sha256 | None
    spaces: Distinct[Literal["imagenet", "dinov2", "clip"]]
    dinov2: NonEmpty
    dinov2_sha256: Sha256 | None
    clip: NonEmpty
    clip_sha256: Sha256 | None
    neighbours: Positive
    processes: Positive


@dataclass(frozen=True, config=STRICT)
class Sweep:
    """What is sampled over and over with another setting each time, and scored.

    Guidance scales are swept where there is a condition; an empty list sweeps nothing. `settings`
    are other values of `sample`, by name.
    """

    guidance_scales: Distinct[NonNegative]
    samplers: Distinct[Literal["ddpm", "ddim", "ddim_eta_1", "dpmpp_2m", "euler", "heun"]]
    steps: Distinct[Positive | Literal["all"]]
    settings: Many[Annotated[dict[str, Any], Field(min_length=1)]]
    seeds: Positive


EVALUATORS: dict[str, tuple[Condition, ...]] = {
    "classifier": ("classes", "labels"),
    "rotation": ("none", "classes", "labels", "prompts"),
    "scenes": ("prompts",),
    "dlib": ("none",),
}
"""The conditions that each kind of evaluator is for."""


def is_guided(condition: Condition, guidance_weights: str | int | None) -> bool:
    """Whether sampling has anything to guide by: the model without its condition, or weights."""
    return condition != "none" or guidance_weights is not None


@dataclasses.dataclass(frozen=True)
class Params:
    """What is in force for one workload, shared sections and its own overrides merged."""

    workload: str
    threads: Threads
    checkpoint_every: Positive
    keep_checkpoints: Positive
    grid_every_epochs: Positive | None
    grid_every_steps: Positive | None
    condition: Condition
    source: Source
    card: Card
    crawl: Crawl
    download: Download
    dataset: Dataset
    evaluator: Evaluator
    autoencoder: Autoencoder
    text: Text
    noisy_classifier: NoisyClassifier
    model: Model
    diffusion: Diffusion
    train: Train
    sample: Sample
    evaluate: Evaluate
    sweep: Sweep

    @property
    def reads_text(self) -> bool:
        """Whether the conditions are prompts."""
        return self.condition == "prompts"

    @property
    def is_guided(self) -> bool:
        """Whether there is anything to guide by."""
        return is_guided(self.condition, self.sample.guidance_weights)

    def values(self, *sections: str) -> dict[str, Any]:
        """`{"train.lr": 0.001, ...}`: the values of these sections as JSON has them."""
        return {
            f"{name}.{key}": list(value) if isinstance(value, tuple) else value
            for name in sections
            for key, value in dataclasses.asdict(getattr(self, name)).items()
        }

    def in_force(self) -> dict[str, Any]:
        """All that decides the workload's results, and some that does not, by dotted name."""
        values = {"threads": self.threads, "condition": self.condition}
        return values | self.values(*SECTIONS)

    def deciding(self, *sections: str) -> dict[str, Any]:
        """`values` without those that leave the result as it is, up to rounding at most.

        `train.init_from` is where a file lies; what is in it has its hash beside it. The others
        say how patiently a web server is asked.
        """
        left_out = ("processes", "parallel", "init_from", "inception", "checkpoint", *_PATIENCE)
        return {
            key: value
            for key, value in self.values(*sections).items()
            if key.split(".")[1] not in left_out
        }


_KINDS: dict[str, Any] = {field.name: field.type for field in dataclasses.fields(Params)}
SHARED: dict[str, type] = {name: _KINDS[name] for name in SHARED_NAMES}
"""The sections that stand at the top of params.yaml and, to override it, in a workload."""

SECTIONS = ("source", *SHARED)
"""All sections of a workload."""

TOP = {name: _KINDS[name] for name in TOP_NAMES}
"""What stands at the top beside the sections."""

OVERRIDABLE = ("grid_every_epochs", "grid_every_steps")
"""Of `TOP`, what a workload may have of its own."""

_PATIENCE = (
    *("delay", "tries", "workers", "per_host", "seconds", "max_failed_fraction"),
    "user_agent",
)
