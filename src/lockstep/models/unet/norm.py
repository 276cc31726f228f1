"""Group normalisation as a U-Net uses it: after a shift, before a scale, a shift and a SiLU.

The same function as `torch.nn.functional.group_norm` and `silu` one after another; on a CPU, for
images in channels_last, several times faster. PyTorch 2.14's own kernels are slow there: their
backward takes 31 ms for a bfloat16 image of (16, 128, 64, 64) in groups of 4 channels, and 1.6 ms
for the same image where it is contiguous.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

# Values in an image from which on it is large. On two cores, moments and affine of 16 bfloat16
# images took 2.0 ms instead of 9.7 at 2**19 values an image, 1.0 instead of 0.7 at 2**17.
LARGE = 1 << 18

_aten = torch.ops.aten


def group_norm(
    norm: nn.GroupNorm,
    x: Tensor,
    *,
    before: Tensor | None = None,
    scale_shift: tuple[Tensor, Tensor] | None = None,
    silu: bool = False,
) -> Tensor:
    """act(norm(x + before) * (1 + scale) + shift); Wu & He 2018 (arXiv:1803.08494).

    x is (B, C, H, W); `before`, scale and shift are (B, C), the same for all pixels, and None is 0.
    The activation is SiLU or, without `silu`, none. Gives (B, C, H, W) in x's dtype; in
    float32 where autocast has it so (on CUDA).
    """
    if _is_own_ground(x):
        gain, offset = norm.weight.expand(x.shape[:2]), norm.bias.expand(x.shape[:2])
        if scale_shift is not None:
            scale, shift = scale_shift
            gain, offset = gain * (1 + scale), offset * (1 + scale) + shift
        return _GroupNorm.apply(x, before, gain, offset, norm.num_groups, norm.eps, silu)
    if before is not None:
        x = x + before[:, :, None, None]
    x = norm(x)
    if scale_shift is not None:
        scale, shift = scale_shift
        x = x * (1 + scale[:, :, None, None]) + shift[:, :, None, None]
    return F.silu(x) if silu else x


def _is_own_ground(x: Tensor) -> bool:
    # torch.compile fuses the plain operations by itself.
    channels_last = x.is_contiguous(memory_format=torch.channels_last)
    return x.device.type == "cpu" and channels_last and not torch.compiler.is_compiling()


class _GroupNorm(torch.autograd.Function):
    """y = act(gain xhat + offset), where xhat is x + before less its group's mean, times its rstd.

    All of it but x, y, dz holds for the pixels of a channel together, so that y = act(a x + b), and
    with dz the gradient before the activation and n values in a group

        dx = rstd (gain dz - m1 - xhat m2) = a dz + c x + d,
        m1 = sum(gain dz) / n,  m2 = sum(gain dz xhat) / n  over the group:

    two sums over the pixels and one multiply-add each way, the rest is on (B, C) numbers. Kept for
    the backward pass is x alone, not the activation's input, which is a x + b again.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        before: Tensor | None,
        gain: Tensor,
        offset: Tensor,
        groups: int,
        eps: float,
        silu: bool,
    ) -> Tensor:
        ctx.dtypes = None if before is None else before.dtype, gain.dtype, offset.dtype
        ctx.groups, ctx.silu = groups, silu
        wide = torch.promote_types(x.dtype, torch.float32)
        gain, offset = gain.to(wide), offset.to(wide)
        mean, variance = _moments(x)
        # A group's variance is its channels' mean variance and the variance of their means.
        shifted = mean if before is None else mean + before
        group_mean = _group_mean(shifted, groups)
        rstd = (_group_mean(variance + (shifted - group_mean).square(), groups) + eps).rsqrt()
        centre = group_mean if before is None else group_mean - before
        a = gain * rstd
        b = offset - a * centre
        ctx.save_for_backward(x, gain, mean, rstd, centre, a, b)
        y = _affine(x, a, b)
        return F.silu(y, inplace=True) if silu else y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, gain, mean, rstd, centre, a, b = ctx.saved_tensors
        dz = dy.contiguous(memory_format=torch.channels_last)
        if ctx.silu:
            dz = torch.ops.aten.silu_backward(dz, _affine(x, a, b))
        total, product = _sums(dz, x, mean)
        pixels = x.shape[2] * x.shape[3]
        d_gain = rstd * (product + (mean - centre) * total)
        m1 = _group_mean(gain * total, ctx.groups) / pixels
        m2 = _group_mean(gain * d_gain, ctx.groups) / pixels
        c = -rstd.square() * m2
        d = -rstd * m1 - c * centre
        dx = _affine_sum(dz, a, x, c, d)
        before_dtype, gain_dtype, offset_dtype = ctx.dtypes
        d_before = None
        if before_dtype is not None:
            d_before = (a * total + pixels * (c * mean + d)).to(before_dtype)
        d_offset = total.to(offset_dtype)
        return dx, d_before, d_gain.to(gain_dtype), d_offset, None, None, None


def _group_mean(channels: Tensor, groups: int) -> Tensor:
    """The mean of (B, C) over the channels of each group, repeated for each of them: (B, C)."""
    mean = channels.unflatten(1, (groups, -1)).mean(2, keepdim=True)
    return mean.expand(-1, -1, channels.shape[1] // groups).flatten(1)


# Sums over the pixels, and multiply-adds, of images (B, C, H, W) in channels_last on a CPU. What
# they give or take for each channel of each image is (B, C), in float32, or float64 for images in
# it; sums are always made in that.
#
# Large images are best done one at a time by the kernels of batch normalisation, which are such
# sums and multiply-adds (a batch of one image has the statistics of its channels), read bfloat16 as
# it is, and pass over the memory once. Small images are best done all at once, in plain operations.


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and (biased) variance of each channel of each image."""
    if _large(x):
        unused = _channels(x, 0.0)  # running averages, which also ask for results in their dtype
        each = [_aten.batch_norm_update_stats(image, unused, unused, 0.0) for image in x.split(1)]
        return torch.stack([mean for mean, _ in each]), torch.stack([var for _, var in each])
    x, pixels = _wide(x), x.shape[2] * x.shape[3]
    mean = x.sum((2, 3)) / pixels
    # Not the mean square less the squared mean, which would cancel where the mean is large.
    return mean, (x - _pixels(mean)).square_().sum((2, 3)) / pixels


def _affine(x: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """a x + b, in x's dtype."""
    if _large(x) and x.dtype == torch.bfloat16:
        y = torch.empty_like(x)
        zero, one, empty = _channels(x, 0.0), _channels(x, 1.0), x.new_empty(0, dtype=a.dtype)
        for image, out, gain, offset in zip(x.split(1), y.split(1), a, b, strict=True):
            _aten.native_batch_norm.out(
                *(image, gain, offset, zero, one, False, 0.0, 0.0),
                **{"out": out, "save_mean": empty, "save_invstd": empty},
            )
        return y
    return torch.addcmul(_pixels(b), _wide(x), _pixels(a)).to(x.dtype)


def _affine_sum(x: Tensor, a: Tensor, y: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """a x + b y + c, in x's dtype."""
    if _large(x) and x.dtype == torch.bfloat16:
        return _affine(y, b, c).add_(_affine(x, a, torch.zeros_like(a)))
    total = torch.addcmul(_pixels(c), _wide(y), _pixels(b))
    return total.addcmul_(_wide(x), _pixels(a)).to(x.dtype)


def _sums(x: Tensor, y: Tensor, mean: Tensor) -> tuple[Tensor, Tensor]:
    """The sums of x and of x (y - mean) over each channel of each image."""
    if _large(x):
        one, which = _channels(x, 1.0), [False, True, True]
        # The gradients of batch normalisation's bias and, at a deviation of 1, of its weight.
        each = [
            _aten.native_batch_norm_backward(dx, image, one, one, one, m, one, True, 0.0, which)
            for dx, image, m in zip(x.split(1), y.split(1), mean, strict=True)
        ]
        return torch.stack([b for _, _, b in each]), torch.stack([w for _, w, _ in each])
    x = _wide(x)
    return x.sum((2, 3)), (_wide(y) - _pixels(mean)).mul_(x).sum((2, 3))


def _large(x: Tensor) -> bool:
    return x[0].numel() >= LARGE if len(x) else False


def _wide(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _channels(x: Tensor, value: float) -> Tensor:
    dtype = torch.promote_types(x.dtype, torch.float32)
    return x.new_full((x.shape[1],), value, dtype=dtype)


def _pixels(channels: Tensor) -> Tensor:
    return channels[:, :, None, None]
