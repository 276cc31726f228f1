"""Shapes of networks, as frozen dataclasses that are checked when they are made, without torch."""

from dataclasses import dataclass, fields
from typing import Any

# Width of a token, and of one head, of the placement attention: see `Backbone.placement_heads`.
PLACEMENT_WIDTH = 128
PLACEMENT_HEAD_DIM = 32


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """What decides the levels of any U-Net here, as parameters may say it.

    A *level* is one resolution of the U-Net: level 0 is the finest, and each further level halves
    height and width. Every tuple, also of the configurations made of this one, has one entry a
    level, finest first.

    Parameters
    ----------
    channels
        Width of each level, at least one level; each a multiple of `norm_groups`.
    layers_per_block
        Resnets a level on the way down (1 or more); one more on the way up.
    norm_groups
        Groups of every group normalisation.
    norm_eps
        Epsilon of every group normalisation of a resnet or before the last convolution.
    dropout
        Probability, in [0, 1), of zeroing an activation inside a resnet while training.
    time_embedding_dim
        Width of the time embedding, and so of the condition added to it. None is 4 * channels[0];
        `embedding_dim` gives the width in use.
    patch
        Side p of the p x p pixel patches that are folded into channels before the first convolution
        and unfolded after the last. 1 folds nothing.
    scale_shift
        Let the time embedding scale and shift the activations after a resnet's second normalisation
        (AdaGN: Dhariwal & Nichol 2021, arXiv:2105.05233, section 3), instead of only shifting them
        before it.
    placement_heads
        Heads, each 32 wide, of a layer after each resnet in which every label or word divides its
        attention among the pixels: see `lockstep.models.unet.placement`. 0 leaves it out; diffusers
        has no such layer.
    gradient_checkpointing
        Keep only the inputs of each layer (a resnet with what follows it) and compute the rest
        again in the backward pass: less memory, more time, same numbers.

    Raises
    ------
    ValueError
        One line with the field, its value and the fix, if no such U-Net can be built.
    """

    channels: tuple[int, ...]
    layers_per_block: int = 2
    norm_groups: int = 32
    norm_eps: float = 1e-5
    dropout: float = 0.0
    time_embedding_dim: int | None = None
    patch: int = 1
    scale_shift: bool = False
    placement_heads: int = 0
    gradient_checkpointing: bool = False

    @property
    def embedding_dim(self) -> int:
        """Width of the time embedding and of the condition."""
        if self.time_embedding_dim is None:
            return 4 * self.channels[0]
        return self.time_embedding_dim

    @property
    def size_multiple(self) -> int:
        """Height and width of the input images must be multiples of this, in pixels."""
        return self.patch * 2 ** (len(self.channels) - 1)

    def __post_init__(self) -> None:
        _check_positive(self, "layers_per_block", "norm_groups", "patch")
        if self.time_embedding_dim is not None:
            _check_positive(self, "time_embedding_dim")
        _check_channels(self)
        if not self.norm_eps > 0:
            raise _error(self, "norm_eps", "give a small number above 0, such as 1e-5")
        if not (self.placement_heads == 0 or _is_positive(self.placement_heads)):
            raise _error(self, "placement_heads", "give a whole number, 0 for none")
        if not 0 <= self.dropout < 1:
            raise _error(self, "dropout", "give a probability, 0 or more and below 1")

    def _narrowest_attended(self, field: str) -> int:
        """Width of the narrowest layer with attention, by the field that says which levels have it.

        The middle block, as wide as the last level, always has.
        """
        attended = getattr(self, field)
        if len(attended) != len(self.channels) or not all(isinstance(a, bool) for a in attended):
            fix = f"give one True or False a level, {len(self.channels)} in all"
            raise _error(self, field, fix)
        widths = zip(self.channels, attended, strict=True)
        return min([width for width, a in widths if a] + [self.channels[-1]])


@dataclass(frozen=True, kw_only=True)
class BackboneConfig(Backbone):
    """A `Backbone`, and what goes in and comes out.

    Parameters
    ----------
    in_channels, out_channels
        Of the images or latents, before patches are folded into channels and after.
    flip_sin_to_cos
        Put the cosines of the timestep embedding before the sines.
    freq_shift
        Shift of the timestep embedding's frequencies, see `timestep_embedding`.
    downsample_padding
        1 pads every side of a downsampling convolution by one pixel; 0 pads only the right and the
        bottom, as the original DDPM code does.
    """

    in_channels: int = 3
    out_channels: int = 3
    flip_sin_to_cos: bool = True
    freq_shift: float = 0.0
    downsample_padding: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_positive(self, "in_channels", "out_channels")
        if self.downsample_padding not in (0, 1):
            raise _error(self, "downsample_padding", "give 0 or 1")
        if not 0 <= self.freq_shift < self.channels[0] // 2:
            fix = f"give 0 or more and below channels[0] // 2 = {self.channels[0] // 2}"
            raise _error(self, "freq_shift", fix)


@dataclass(frozen=True, kw_only=True)
class UNetConfig(BackboneConfig):
    """A `BackboneConfig`, and what else decides what a `UNet` computes, save its weights.

    Parameters
    ----------
    attention
        For each level, whether self-attention follows each of its resnets. The middle block always
        has one attention, whatever stands here.
    attention_head_dim
        Width d of one attention head. A layer of C channels has C // d heads, so it attends at
        width d * (C // d), which is below C where d does not divide C. None is a single head as
        wide as the layer.
    """

    attention: tuple[bool, ...]
    attention_head_dim: int | None = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        narrowest = self._narrowest_attended("attention")
        if self.attention_head_dim is not None:
            _check_positive(self, "attention_head_dim")
            if self.attention_head_dim > narrowest:
                fix = f"give at most {narrowest}, the narrowest layer with attention, or None"
                raise _error(self, "attention_head_dim", fix)


@dataclass(frozen=True, kw_only=True)
class CrossAttentionUNetConfig(BackboneConfig):
    """A `BackboneConfig`, and what else decides what a `CrossAttentionUNet` computes.

    diffusers' `UNet2DConditionModel` has no field that tells the number of heads: it takes its
    `attention_head_dim` for that (and refuses `num_attention_heads`), so that 16 there makes
    sixteen heads in every layer, of widths 16 to 48 where the layers are 256 to 768 wide. It is
    called `heads` here. Published configurations map as

        block_out_channels = channels        norm_num_groups = norm_groups
        attention_head_dim = heads           resnet_time_scale_shift = "scale_shift" or "default"
        down_block_types = CrossAttnDownBlock2D or DownBlock2D by `cross_attention`, finest first
        up_block_types = CrossAttnUpBlock2D or UpBlock2D by `cross_attention`, coarsest first

    and otherwise by name.

    Parameters
    ----------
    cross_attention
        For each level, whether a transformer follows each of its resnets, in which pixels attend to
        each other and to the context. The middle block always has one, whatever stands here.
    cross_attention_dim
        Width D of the context.
    heads
        Number h of attention heads of every layer. A layer of C channels has heads of width C // h,
        so it attends at width h * (C // h), which is below C where h does not divide C.
    """

    cross_attention: tuple[bool, ...]
    cross_attention_dim: int
    in_channels: int = 4
    out_channels: int = 4
    heads: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_positive(self, "cross_attention_dim", "heads")
        narrowest = self._narrowest_attended("cross_attention")
        if self.heads > narrowest:
            fix = f"give at most {narrowest}, the width of the narrowest layer with attention"
            raise _error(self, "heads", fix)


@dataclass(frozen=True, kw_only=True)
class UNetSettings(Backbone):
    """A backbone, and where it attends.

    With text, `attention` says which levels attend to it, with `heads` each, and `pooled_text`
    whether its mean is added to the time embedding: see `lockstep.models.text.PooledText`. Without,
    `attention` says which levels have self-attention, with heads of `attention_head_dim`. With
    `zero_residuals` each residual branch begins as the identity.
    """

    attention: tuple[bool, ...]
    attention_head_dim: int | None
    heads: int
    pooled_text: bool
    zero_residuals: bool

    def unet(self, channels: int = 3) -> UNetConfig:
        """For images or latents of so many channels. Raises `ValueError` if it cannot be."""
        return UNetConfig(
            **fields_of(Backbone, self),
            in_channels=channels,
            out_channels=channels,
            attention=self.attention,
            attention_head_dim=self.attention_head_dim,
        )

    def cross_attention_unet(self, channels: int, width: int) -> CrossAttentionUNetConfig:
        """The same with a context of this width."""
        return CrossAttentionUNetConfig(
            **fields_of(Backbone, self),
            in_channels=channels,
            out_channels=channels,
            cross_attention=self.attention,
            cross_attention_dim=width,
            heads=self.heads,
        )


@dataclass(frozen=True, kw_only=True)
class KLConfig:
    """Everything that decides what a `KLAutoencoder` computes, save its weights.

    `channels`, `norm_groups` and `norm_eps` are as those of `Backbone`, and so is the `ValueError`
    if there is no such network.

    Parameters
    ----------
    latent_channels
        Channels of the latents.
    patch
        Side of the patches of pixels that are folded into channels (pixel unshuffle).
    layers_per_block
        Residual blocks a level in the encoder; one more in the decoder, whose task is the harder
        one.
    """

    channels: tuple[int, ...] = (32, 64)
    latent_channels: int = 4
    layers_per_block: int = 1
    patch: int = 2
    norm_groups: int = 8
    norm_eps: float = 1e-6

    @property
    def reduction(self) -> int:
        """How much smaller than the images the latents are, in height and in width."""
        return self.patch * 2 ** (len(self.channels) - 1)

    def __post_init__(self) -> None:
        _check_positive(self, "latent_channels", "layers_per_block", "patch", "norm_groups")
        _check_channels(self)
        if not self.norm_eps > 0:
            raise _error(self, "norm_eps", "give a small number above 0, such as 1e-6")


def fields_of(kind: type, config: Any) -> dict[str, Any]:
    """The values that a config has for the fields of a class that it is made of."""
    return {field.name: getattr(config, field.name) for field in fields(kind)}


def _check_positive(config: object, *fields: str) -> None:
    for field in fields:
        if not _is_positive(getattr(config, field)):
            raise _error(config, field, "give a whole number, 1 or more")


def _check_channels(config: "Backbone | KLConfig") -> None:
    if not config.channels:
        raise _error(config, "channels", "give one width a level, at least one")
    if any(not _is_positive(width) or width % config.norm_groups for width in config.channels):
        fix = f"give positive multiples of norm_groups = {config.norm_groups}"
        raise _error(config, "channels", fix)


def _error(config: object, field: str, fix: str) -> ValueError:
    return ValueError(f"{type(config).__name__}.{field} is {getattr(config, field)!r}: {fix}")


def _is_positive(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
