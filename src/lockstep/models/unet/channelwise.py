"""What group normalisation does to whole images: sums over the pixels, and multiply-adds.

For images (B, C, H, W) in channels_last on a CPU. What they give or take for each channel of each
image is (B, C), in float32, or float64 for images in it; sums are always made in that.

Large images are best done one at a time by the kernels of batch normalisation, which are such sums
and multiply-adds (a batch of one image has the statistics of its channels), read bfloat16 as it is,
and pass over the memory once. Small images are best done all at once, in a few plain operations.
"""

import torch
from torch import Tensor

# Values in an image from which on it is large. On two cores, moments and affine of 16 bfloat16
# images took 2.0 ms instead of 9.7 at 2**19 values an image, 1.0 instead of 0.7 at 2**17.
LARGE = 1 << 18

_aten = torch.ops.aten


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and (biased) variance of each channel of each image."""
    if _large(x):
        unused = _channels(x, 0.0)  # running averages, which also ask for results in their dtype
        each = [_aten.batch_norm_update_stats(image, unused, unused, 0.0) for image in x.split(1)]
        return torch.stack([mean for mean, _ in each]), torch.stack([var for _, var in each])
    x, pixels = _wide(x), x.shape[2] * x.shape[3]
    mean = x.sum((2, 3)) / pixels
    # Not the mean square less the squared mean, which would cancel where the mean is large.
    return mean, (x - _pixels(mean)).square_().sum((2, 3)) / pixels


def affine(x: Tensor, a: Tensor, b: Tensor) -> Tensor:
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


def affine_sum(x: Tensor, a: Tensor, y: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """a x + b y + c, in x's dtype."""
    if _large(x) and x.dtype == torch.bfloat16:
        return affine(y, b, c).add_(affine(x, a, torch.zeros_like(a)))
    total = torch.addcmul(_pixels(c), _wide(y), _pixels(b))
    return total.addcmul_(_wide(x), _pixels(a)).to(x.dtype)


def sums(x: Tensor, y: Tensor, mean: Tensor) -> tuple[Tensor, Tensor]:
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
