"""The parts a U-Net is made of: resnets, self-attention, and the blocks that stack them.

All images are (B, C, H, W), in either memory format; `emb` is the time embedding, (B, E) with
E = config.embedding_dim; `tokens` are what placements take besides their image, if there are any;
`context` is what attentions take, if anything.
Attribute names are diffusers' own, so that its weights load by name.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lockstep.config.networks import BackboneConfig, UNetConfig
from lockstep.models.unet.norm import group_norm
from lockstep.models.unet.placement import Placement, Tokens

# Longest sequence attended by plain matrix products on a CPU in bfloat16. Further on the gain for
# narrow heads is gone (none at L = 1024), and the weights, (B, heads, L, L), take ever more memory.
PLAIN_ATTENTION_LENGTH = 256

# A layer that adds attention to an image of so many channels.
MakeAttention = Callable[[int], nn.Module]


class Resnet(nn.Module):
    """Residual block: two normalised convolutions, the time embedding entering between them.

    Ho et al. 2020 (arXiv:2006.11239), appendix B, after He et al. 2016:

        h = conv1(silu(norm1(x)))
        h = norm2(h + W silu(emb))                          or, with `scale_shift`,
        h = norm2(h) * (1 + scale) + shift,                 (scale, shift) = W silu(emb)
        y = shortcut(x) + conv2(dropout(silu(h)))

    The shortcut is the identity, or a 1x1 convolution where the number of channels changes.
    """

    def __init__(self, in_channels: int, out_channels: int, config: BackboneConfig) -> None:
        super().__init__()
        self.scale_shift = config.scale_shift
        projected = 2 * out_channels if config.scale_shift else out_channels
        self.norm1 = nn.GroupNorm(config.norm_groups, in_channels, eps=config.norm_eps)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.time_emb_proj = nn.Linear(config.embedding_dim, projected)
        self.norm2 = nn.GroupNorm(config.norm_groups, out_channels, eps=config.norm_eps)
        self.dropout = nn.Dropout(config.dropout)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.conv_shortcut = (
            nn.Identity()
            if in_channels == out_channels
            else nn.Conv2d(in_channels, out_channels, 1)
        )

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        """(B, in_channels, H, W) and (B, E) -> (B, out_channels, H, W)."""
        h = self.conv1(group_norm(self.norm1, x, silu=True))
        projected = self.time_emb_proj(F.silu(emb))
        if self.scale_shift:
            scale, shift = projected.chunk(2, dim=1)
            h = group_norm(self.norm2, h, scale_shift=(scale, shift), silu=True)
        else:
            h = group_norm(self.norm2, h, before=projected, silu=True)
        h = self.conv2(self.dropout(h))
        return self.conv_shortcut(x) + h


class Attention(nn.Module):
    """Multi-head self-attention between all pixels of an image, added to the image.

    The number of heads is C // head_dim; see `UNetConfig.attention_head_dim`.
    """

    def __init__(self, channels: int, config: UNetConfig) -> None:
        super().__init__()
        head_dim = config.attention_head_dim or channels
        self.heads = channels // head_dim
        inner = self.heads * head_dim
        self.group_norm = nn.GroupNorm(config.norm_groups, channels, eps=config.norm_eps)
        self.to_q = nn.Linear(channels, inner)
        self.to_k = nn.Linear(channels, inner)
        self.to_v = nn.Linear(channels, inner)
        self.to_out = nn.ModuleList([nn.Linear(inner, channels)])  # a list for its name: to_out.0

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        # Pixels become rows of channels: (B, H * W, C), a view when x is channels_last.
        pixels = group_norm(self.group_norm, x).flatten(2).transpose(1, 2)
        q, k, v = (
            project(pixels).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for project in (self.to_q, self.to_k, self.to_v)
        )
        attended = self.to_out[0](attend(q, k, v).transpose(1, 2).flatten(2))
        return x + attended.transpose(1, 2).unflatten(2, x.shape[2:])


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """Scaled dot-product attention, softmax(q k^T / sqrt(d)) v (Vaswani et al. 2017, eq. 1).

    q is (B, heads, N, d), k and v are (B, heads, L, d), and so is the result as q. `mask` is
    boolean, of a shape that broadcasts to (B, heads, N, L), with a True in every row: only where
    it is True the softmax is over.
    """
    # PyTorch's fused kernel is slow on a CPU in bfloat16: forward and backward at B = 8, L = 64
    # and 32 heads of width 8 took it 39 ms, most of that the backward, and the three plain
    # operations 9 ms (torch 2.14, one core; in float32 both took 11 ms). So it is with many
    # queries of few keys: with N = 1024, L = 77 and 16 heads of width 16, 111 ms and 72 ms.
    on_cpu_in_bfloat16 = q.device.type == "cpu" and q.dtype == torch.bfloat16
    if on_cpu_in_bfloat16 and k.shape[2] <= PLAIN_ATTENTION_LENGTH:
        scores = (q * q.shape[3] ** -0.5) @ k.transpose(2, 3)
        if mask is not None:
            scores = scores.masked_fill(~mask, -torch.inf)
        return scores.softmax(dim=3) @ v
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


class Downsample(nn.Module):
    """Halves height and width by a 3x3 convolution of stride 2."""

    def __init__(self, channels: int, padding: int) -> None:
        super().__init__()
        self.pad = (0, 1, 0, 1) if padding == 0 else None  # right and bottom only
        self.conv = nn.Conv2d(channels, channels, 3, stride=2, padding=padding)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H / 2, W / 2)."""
        return self.conv(x if self.pad is None else F.pad(x, self.pad))


class Upsample(nn.Module):
    """Doubles height and width by repeating pixels, then a 3x3 convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, 2 H, 2 W)."""
        if x.device.type == "cpu":
            return upsample_convolve(x, self.conv.weight, self.conv.bias)
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


def upsample_convolve(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """conv2d(interpolate(x, scale_factor=2, mode="nearest"), weight, bias, padding=1).

    (B, C, H, W), (O, C, 3, 3) and (O,) -> (B, O, 2 H, 2 W).

    Where rows are doubled, the three that a kernel sees are two: an even row of the result sees
    one pixel by its first tap and another by the sum of the other two; an odd row by the sum of
    the first two and by the third. Likewise columns. So the result is four images, one for even
    and odd rows and columns, each a 2x2 convolution of x: 16 products a pixel of x instead of 36
    (Shi et al. 2016, arXiv:1609.07009, the other way round). On a CPU forward and backward take
    0.6 of the time.
    """
    rows = []
    for row, kernel_rows in enumerate(_two_taps(weight, dim=2)):
        columns = []
        for column, kernel in enumerate(_two_taps(kernel_rows, dim=3)):
            padded = F.pad(x, (1 - column, column, 1 - row, row))
            kernel = kernel.contiguous(memory_format=torch.channels_last)
            columns.append(F.conv2d(padded, kernel, bias).permute(0, 2, 3, 1))
        rows.append(torch.stack(columns, dim=3))  # (B, H, W, 2, O)
    whole = torch.stack(rows, dim=2)  # (B, H, 2, W, 2, O)
    return whole.flatten(3, 4).flatten(1, 2).permute(0, 3, 1, 2)


def _two_taps(kernel: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """A kernel's three taps along `dim` as the two of even places and the two of odd ones."""
    first, middle, last = kernel.split(1, dim)
    return torch.cat((first, middle + last), dim), torch.cat((first + middle, last), dim)


class Block(nn.Module):
    """Resnets one after another, the first `attentions` of them each followed by an attention.

    With `config.placement_heads` a placement comes between the two, after each resnet.
    `widths` are (in_channels, out_channels) of each resnet; `attention` makes the attentions.
    """

    def __init__(
        self,
        widths: list[tuple[int, int]],
        attentions: int,
        attention: MakeAttention,
        config: BackboneConfig,
    ) -> None:
        super().__init__()
        self.gradient_checkpointing = config.gradient_checkpointing
        self.resnets = nn.ModuleList(Resnet(*width, config) for width in widths)
        self.attentions = nn.ModuleList(
            attention(out_channels) for _, out_channels in widths[:attentions]
        )
        self.placements = nn.ModuleList(
            Placement(out_channels, config) for _, out_channels in widths if config.placement_heads
        )

    def layer(
        self, index: int, x: Tensor, emb: Tensor, tokens: Tokens | None, *context: Tensor | None
    ) -> Tensor:
        """One resnet with what follows it."""
        if self.gradient_checkpointing and torch.is_grad_enabled():
            return checkpoint(self._layer, index, x, emb, tokens, *context, use_reentrant=False)
        return self._layer(index, x, emb, tokens, *context)

    def _layer(
        self, index: int, x: Tensor, emb: Tensor, tokens: Tokens | None, *context: Tensor | None
    ) -> Tensor:
        x = self.resnets[index](x, emb)
        if tokens is not None:
            x = self.placements[index](x, tokens)
        return self.attentions[index](x, *context) if index < len(self.attentions) else x


class MidBlock(Block):
    """The coarsest point of the U-Net: resnet, attention, resnet."""

    def __init__(self, channels: int, attention: MakeAttention, config: BackboneConfig) -> None:
        super().__init__([(channels, channels)] * 2, 1, attention, config)

    def forward(
        self, x: Tensor, emb: Tensor, tokens: Tokens | None, *context: Tensor | None
    ) -> Tensor:
        """(B, C, H, W) and (B, E) -> (B, C, H, W)."""
        return self.layer(1, self.layer(0, x, emb, tokens, *context), emb, tokens)


class DownBlock(Block):
    """One level on the way down; `last` is the coarsest level, which does not downsample."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        attended: bool,
        last: bool,
        attention: MakeAttention,
        config: BackboneConfig,
    ) -> None:
        layers = config.layers_per_block
        widths = [(in_channels, out_channels)] + [(out_channels, out_channels)] * (layers - 1)
        super().__init__(widths, layers if attended else 0, attention, config)
        self.downsamplers = nn.ModuleList(
            [] if last else [Downsample(out_channels, config.downsample_padding)]
        )

    def forward(
        self, x: Tensor, emb: Tensor, tokens: Tokens | None, *context: Tensor | None
    ) -> list[Tensor]:
        """(B, in_channels, H, W) and (B, E) -> every layer's output, for the way up to use.

        The last tensor is the input of the next level.
        """
        outputs = []
        for index in range(len(self.resnets)):
            x = self.layer(index, x, emb, tokens, *context)
            outputs.append(x)
        for downsample in self.downsamplers:
            outputs.append(downsample(x))
        return outputs


class UpBlock(Block):
    """One level on the way up; `last` is the finest level, which does not upsample.

    Each resnet sees the output of the way down that it mirrors, joined along the channels: those
    of this level are `out_channels` wide, and the last one, which is this level's input on the way
    down, `skip_channels`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        skip_channels: int,
        attended: bool,
        last: bool,
        attention: MakeAttention,
        config: BackboneConfig,
    ) -> None:
        layers = config.layers_per_block + 1
        inputs = [in_channels] + [out_channels] * (layers - 1)
        skips = [out_channels] * (layers - 1) + [skip_channels]
        widths = [(i + s, out_channels) for i, s in zip(inputs, skips, strict=True)]
        super().__init__(widths, layers if attended else 0, attention, config)
        self.upsamplers = nn.ModuleList([] if last else [Upsample(out_channels)])

    def forward(
        self,
        x: Tensor,
        emb: Tensor,
        skips: list[Tensor],
        tokens: Tokens | None,
        *context: Tensor | None,
    ) -> Tensor:
        """(B, in_channels, H, W), (B, E) and the way down's outputs -> the next level's input.

        Takes its own tensors off the end of `skips`.
        """
        for index in range(len(self.resnets)):
            x = self.layer(index, torch.cat((x, skips.pop()), dim=1), emb, tokens, *context)
        for upsample in self.upsamplers:
            x = upsample(x)
        return x
