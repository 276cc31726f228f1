"""The shape of a U-Net: one frozen dataclass, checked when it is made."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class UNetConfig:
    """Everything that decides what a `UNet` computes, save its weights.

    A *level* is one resolution of the U-Net: level 0 is the finest, and each further level halves
    height and width. Every tuple below has one entry a level, finest first.

    Attributes:
        channels: width of each level, at least one level; each a multiple of `norm_groups`.
        attention: for each level, whether self-attention follows each of its resnets. The middle
            block always has one attention, whatever stands here.
        in_channels: channels of the input images.
        out_channels: channels of the output images.
        layers_per_block: resnets a level on the way down (1 or more); one more on the way up.
        attention_head_dim: width d of one attention head. A layer of C channels has C // d heads,
            so it attends at width d * (C // d), which is below C where d does not divide C.
            None is a single head as wide as the layer.
        norm_groups: groups of every group normalisation.
        norm_eps: epsilon of every group normalisation.
        dropout: probability, in [0, 1), of zeroing an activation inside a resnet while training.
        flip_sin_to_cos: put the cosines of the timestep embedding before the sines.
        freq_shift: shift of the timestep embedding's frequencies, see `timestep_embedding`.
        downsample_padding: 1 pads every side of a downsampling convolution by one pixel; 0 pads
            only the right and the bottom, as the original DDPM code does.
        time_embedding_dim: width of the time embedding, and so of the condition added to it. None
            is 4 * channels[0]; `embedding_dim` gives the width in use.
        patch: side p of the p x p pixel patches that are folded into channels before the first
            convolution and unfolded after the last. 1 folds nothing.
        scale_shift: let the time embedding scale and shift the activations after a resnet's second
            normalisation (AdaGN: Dhariwal & Nichol 2021, arXiv:2105.05233, section 3), instead of
            only shifting them before it.
        gradient_checkpointing: keep only the inputs of each layer (a resnet with its attention)
            and compute the rest again in the backward pass: less memory, more time, same numbers.

    Raises:
        ValueError: one line with the field, its value and the mend, if no such U-Net can be built.
    """

    channels: tuple[int, ...]
    attention: tuple[bool, ...]
    in_channels: int = 3
    out_channels: int = 3
    layers_per_block: int = 2
    attention_head_dim: int | None = 8
    norm_groups: int = 32
    norm_eps: float = 1e-5
    dropout: float = 0.0
    flip_sin_to_cos: bool = True
    freq_shift: float = 0.0
    downsample_padding: int = 1
    time_embedding_dim: int | None = None
    patch: int = 1
    scale_shift: bool = False
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
        positive = ("in_channels", "out_channels", "layers_per_block", "norm_groups", "patch")
        for name in (*positive, "attention_head_dim", "time_embedding_dim"):
            value = getattr(self, name)
            if value is None and name not in positive:
                continue
            if not _is_int(value) or value < 1:
                raise _error(name, value, "give a whole number, 1 or more")
        if not self.channels:
            raise _error("channels", self.channels, "give one width a level, at least one")
        for width in self.channels:
            if not _is_int(width) or width < 1 or width % self.norm_groups:
                mend = f"give positive multiples of norm_groups = {self.norm_groups}"
                raise _error("channels", self.channels, mend)
        if len(self.attention) != len(self.channels) or not all(
            isinstance(attended, bool) for attended in self.attention
        ):
            mend = f"give one True or False a level, {len(self.channels)} in all"
            raise _error("attention", self.attention, mend)
        attended_widths = [
            c for c, attended in zip(self.channels, self.attention, strict=True) if attended
        ] + [self.channels[-1]]
        narrowest = min(attended_widths)
        if self.attention_head_dim is not None and self.attention_head_dim > narrowest:
            mend = f"give at most {narrowest}, the narrowest layer with attention, or None"
            raise _error("attention_head_dim", self.attention_head_dim, mend)
        if not self.norm_eps > 0:
            raise _error("norm_eps", self.norm_eps, "give a small number above 0, such as 1e-5")
        if not 0 <= self.dropout < 1:
            raise _error("dropout", self.dropout, "give a probability, 0 or more and below 1")
        if self.downsample_padding not in (0, 1):
            raise _error("downsample_padding", self.downsample_padding, "give 0 or 1")
        if not 0 <= self.freq_shift < self.channels[0] // 2:
            mend = f"give 0 or more and below channels[0] // 2 = {self.channels[0] // 2}"
            raise _error("freq_shift", self.freq_shift, mend)


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _error(field: str, value: object, mend: str) -> ValueError:
    return ValueError(f"UNetConfig.{field} is {value!r}: {mend}")
