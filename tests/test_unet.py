"""The U-Net against diffusers' UNet2DModel, and against itself where the library has no like."""

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import parity
from lockstep.models.unet import LabelEmbedding, UNet, UNetConfig, timestep_embedding
from lockstep.models.unet.blocks import (
    PLAIN_ATTENTION_LENGTH,
    Attention,
    Resnet,
    attend,
    upsample_convolve,
)
from lockstep.models.unet.norm import group_norm

SMALL = UNetConfig(channels=(16, 32), attention=(False, True), norm_groups=8, attention_head_dim=8)

LAB6 = UNetConfig(
    channels=(128, 128, 256, 256, 512, 512),
    attention=(False, False, False, False, True, False),
)

DDPM_CIFAR10 = UNetConfig(
    channels=(128, 256, 256, 256),
    attention=(False, True, False, False),
    attention_head_dim=None,
    norm_eps=1e-6,
    flip_sin_to_cos=False,
    freq_shift=1,
    downsample_padding=0,
)

ANIME = UNetConfig(
    channels=(64, 128, 256, 1024),
    attention=(False, False, True, True),
    attention_head_dim=64,
    time_embedding_dim=256,
)

# (configuration, batch, height, width, whether a condition is given)
PARITY = {
    "lab6": (LAB6, 1, 64, 64, True),
    "ddpm-cifar10-32": (DDPM_CIFAR10, 1, 32, 32, False),
    "anime": (ANIME, 1, 32, 32, False),
    "one level": (replace(SMALL, channels=(16,), attention=(True,)), 2, 6, 10, True),
    "one level, no attention": (replace(SMALL, channels=(16,), attention=(False,)), 2, 5, 7, False),
    "not square": (replace(SMALL, channels=(16, 24)), 3, 8, 20, True),
    "three levels, one layer": (
        replace(
            SMALL,
            channels=(8, 24, 16),
            attention=(True, False, True),
            layers_per_block=1,
            in_channels=1,
            out_channels=5,
        ),
        2,
        16,
        8,
        True,
    ),
    "heads of 12": (
        replace(SMALL, channels=(24, 48), attention=(True, True), attention_head_dim=12),
        2,
        8,
        8,
        False,
    ),
    "heads that do not fill the layer": (
        replace(SMALL, channels=(16, 40), attention=(True, True), attention_head_dim=12),
        2,
        8,
        8,
        True,
    ),
    "large epsilon": (replace(SMALL, norm_eps=0.1), 2, 8, 8, True),
    "heads of 1": (replace(SMALL, attention_head_dim=1), 2, 8, 8, False),
    "dropout": (replace(SMALL, dropout=0.3), 2, 8, 8, True),
    "time width": (replace(SMALL, time_embedding_dim=36), 2, 8, 8, True),
    "odd first width": (replace(SMALL, channels=(15, 30), norm_groups=5), 2, 8, 8, True),
    "padding 0": (replace(SMALL, downsample_padding=0, freq_shift=1), 2, 8, 12, True),
    "scale and shift": (replace(SMALL, scale_shift=True), 2, 8, 8, True),
}


def theirs_of(config: UNetConfig, condition: bool) -> torch.nn.Module:
    """diffusers' model of the same configuration."""
    pytest.importorskip("diffusers")
    from lockstep.export.networks import library_unet

    return library_unet(config, condition)


def make(config: UNetConfig) -> UNet:
    return parity.make(UNet, config)


def inputs(
    config: UNetConfig, batch: int = 2, height: int = 8, width: int = 8
) -> tuple[Tensor, Tensor, Tensor]:
    x, t = parity.images(config, batch, height, width)
    return x, t, torch.randn(batch, config.embedding_dim)


def parity_cases() -> Iterator[Any]:
    """Each configuration in both formats; for the large ones, that of no training is long."""
    for case, memory_format in itertools.product(
        PARITY, [torch.contiguous_format, torch.channels_last]
    ):
        slow = case in ("lab6", "anime") and memory_format == torch.contiguous_format
        yield pytest.param(case, memory_format, marks=[pytest.mark.long] if slow else [])


@pytest.mark.parametrize(("case", "memory_format"), parity_cases())
def test_parity_with_diffusers(case: str, memory_format: torch.memory_format) -> None:
    config, batch, height, width, conditioned = PARITY[case]
    torch.manual_seed(0)
    theirs = theirs_of(config, conditioned).eval()
    parity.randomise_norms(theirs)
    ours = UNet(config).eval()
    parity.take_over(ours, theirs, memory_format)
    x, t, condition = inputs(config, batch, height, width)
    leaves = [x, condition] if conditioned else [x]
    for leaf in leaves:
        leaf.requires_grad_()
    our_output = ours(x, t, condition if conditioned else None)
    their_output = theirs(x, t, class_labels=condition if conditioned else None).sample
    assert our_output.shape == (batch, config.out_channels, height, width)
    parity.assert_same_computation(ours, our_output, theirs, their_output, *leaves)


def test_dropout_stands_where_the_librarys_does() -> None:
    config = replace(SMALL, dropout=0.3)
    x, t, _ = inputs(config)
    parity.assert_same_dropout(UNet(config), theirs_of(config, False), x, t)


def test_dropout_drops_only_in_training() -> None:
    unet = make(replace(SMALL, dropout=0.3))
    x, t, _ = inputs(SMALL)
    assert (unet(x, t) - unet(x, t)).abs().max() > 1e-2
    unet.eval()
    torch.testing.assert_close(unet(x, t), unet(x, t), rtol=0, atol=0)


def test_no_condition_is_a_zero_condition() -> None:
    unet = make(SMALL)
    x, t, condition = inputs(SMALL)
    plain = unet(x, t)
    torch.testing.assert_close(unet(x, t, torch.zeros_like(condition)), plain, rtol=0, atol=0)
    assert (unet(x, t, condition) - plain).abs().max() > 1e-3


def test_each_image_has_its_own_timestep_and_condition() -> None:
    unet = make(SMALL)
    x, t, condition = inputs(SMALL, batch=3)
    together = unet(x, t, condition)
    alone = torch.cat([unet(x[i : i + 1], t[i : i + 1], condition[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)
    assert (together - unet(x, t.roll(1), condition)).abs().max() > 1e-3


def test_float_timesteps() -> None:
    unet = make(SMALL)
    x, t, _ = inputs(SMALL)
    torch.testing.assert_close(unet(x, t.float()), unet(x, t), rtol=0, atol=0)
    assert (unet(x, t + 0.5) - unet(x, t)).abs().max() > 0


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_gradient_checkpointing_changes_no_gradient(dropout: float) -> None:
    plain = make(replace(SMALL, dropout=dropout))
    checkpointed = UNet(replace(plain.config, gradient_checkpointing=True))
    part = "mid_block.resnets.0.conv1"
    parity.assert_checkpointing_changes_no_gradient(plain, checkpointed, part, *inputs(SMALL))


def test_patch_folds_pixels_into_channels() -> None:
    config = replace(SMALL, patch=2, out_channels=5)
    unet = make(config)
    inner = make(replace(config, patch=1, in_channels=12, out_channels=20))
    inner.load_state_dict(unet.state_dict())
    x, t, condition = inputs(config, height=8, width=12)
    output = unet(x, t, condition)
    assert output.shape == (2, 5, 8, 12)
    # By hand: channel c, row i and column j of a 2 x 2 patch become channel 4 c + 2 i + j.
    offsets = list(itertools.product(range(3), range(2), range(2)))
    folded = torch.stack([x[:, c, i::2, j::2] for c, i, j in offsets], dim=1)
    inner_output = inner(folded, t, condition)
    for c, i, j in itertools.product(range(5), range(2), range(2)):
        expected = inner_output[:, 4 * c + 2 * i + j]
        torch.testing.assert_close(output[:, c, i::2, j::2], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("config", [SMALL, replace(SMALL, patch=2, scale_shift=True)])
def test_channels_last_gives_the_same(config: UNetConfig) -> None:
    parity.assert_same_in_channels_last(make(config), *inputs(config))


def test_attention_of_channels_last_copies_nothing_into_rows() -> None:
    attention = Attention(32, SMALL)
    seen = []
    attention.to_q.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    x = torch.randn(2, 32, 4, 4).to(memory_format=torch.channels_last)
    output = attention(x)
    assert seen[0].shape == (2, 16, 32)
    assert seen[0].is_contiguous()
    assert output.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_bfloat16_autocast_is_close(memory_format: torch.memory_format) -> None:
    x, t, condition = inputs(SMALL)
    x = x.to(memory_format=memory_format)
    parity.assert_close_in_bfloat16_autocast(make(SMALL), x, t, condition)


def test_weights_in_bfloat16() -> None:
    parity.assert_close_with_weights_in_bfloat16(make(SMALL), *inputs(SMALL))


@pytest.mark.parametrize("length", [5, PLAIN_ATTENTION_LENGTH, PLAIN_ATTENTION_LENGTH + 1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_attend_is_its_equation(length: int, dtype: torch.dtype) -> None:
    """Either side of the length, and of the type, at which the way of computing it changes."""
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 3, length, 8).to(dtype) for _ in range(3))
    scores = torch.einsum("bhqd,bhkd->bhqk", q.double(), k.double()) / 8**0.5
    expected = torch.einsum("bhqk,bhkd->bhqd", torch.softmax(scores, dim=-1), v.double())
    tolerance = 1e-5 if dtype == torch.float32 else 0.02
    torch.testing.assert_close(attend(q, k, v).double(), expected, rtol=0, atol=tolerance)


def test_scale_shift_follows_its_equation() -> None:
    config = replace(SMALL, scale_shift=True)
    torch.manual_seed(0)
    resnet = Resnet(32, 32, config)
    parity.randomise_norms(resnet)
    x, emb = torch.randn(2, 32, 4, 4), torch.randn(2, config.embedding_dim)
    with torch.no_grad():  # a projection that says: scale by 1 + 0.5, shift by 2
        resnet.time_emb_proj.weight.zero_()
        resnet.time_emb_proj.bias.copy_(torch.tensor([0.5] * 32 + [2.0] * 32))
    normalised = resnet.norm2(resnet.conv1(F.silu(resnet.norm1(x))))
    expected = x + resnet.conv2(F.silu(1.5 * normalised + 2))
    torch.testing.assert_close(resnet(x, emb), expected, rtol=0, atol=1e-6)


def test_scale_shift_answers_to_the_condition() -> None:
    unet = make(replace(SMALL, scale_shift=True))
    x, t, condition = inputs(SMALL)
    assert (unet(x, t, condition) - unet(x, t, -condition)).abs().max() > 1e-3


def test_timestep_embedding_is_its_equation() -> None:
    t = torch.tensor([0.0, 1.0, 999.0])
    embedding = timestep_embedding(t, 6, flip_sin_to_cos=False, freq_shift=0)
    angles = t.double()[:, None] * torch.tensor([1, 10000 ** (-1 / 3), 10000 ** (-2 / 3)])
    expected = torch.cat([angles.sin(), angles.cos()], dim=1).float()
    torch.testing.assert_close(embedding, expected, rtol=0, atol=1e-4)
    flipped = timestep_embedding(t, 6, flip_sin_to_cos=True, freq_shift=0)
    torch.testing.assert_close(flipped, embedding.roll(3, dims=1), rtol=0, atol=0)
    odd = timestep_embedding(t, 7, flip_sin_to_cos=False, freq_shift=0)
    torch.testing.assert_close(odd, F.pad(embedding, (0, 1)), rtol=0, atol=0)
    shifted = timestep_embedding(t, 6, flip_sin_to_cos=False, freq_shift=1)
    torch.testing.assert_close(shifted[:, 2], (t / 10000).sin())  # the lowest frequency


def test_timestep_embedding_is_float32_under_autocast() -> None:
    t = torch.arange(990, 1000)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        embedding = timestep_embedding(t, 16, flip_sin_to_cos=True, freq_shift=0)
    assert embedding.dtype == torch.float32
    expected = timestep_embedding(t, 16, flip_sin_to_cos=True, freq_shift=0)
    torch.testing.assert_close(embedding, expected, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"channels": ()}, "channels"),
        ({"channels": (16, 36)}, "channels"),
        ({"channels": (16, -8)}, "channels"),
        ({"channels": (16, 32.0)}, "channels"),
        ({"attention": (True,)}, "attention"),
        ({"attention": (0, 1)}, "attention"),
        ({"in_channels": 0}, "in_channels"),
        ({"out_channels": -1}, "out_channels"),
        ({"layers_per_block": 0}, "layers_per_block"),
        ({"attention_head_dim": 0}, "attention_head_dim"),
        ({"attention_head_dim": 33}, "attention_head_dim"),
        ({"attention_head_dim": 17, "attention": (True, True)}, "attention_head_dim"),
        ({"norm_groups": 0}, "norm_groups"),
        ({"norm_eps": 0.0}, "norm_eps"),
        ({"dropout": -0.1}, "dropout"),
        ({"dropout": 1.0}, "dropout"),
        ({"dropout": float("nan")}, "dropout"),
        ({"downsample_padding": 2}, "downsample_padding"),
        ({"freq_shift": 8}, "freq_shift"),
        ({"time_embedding_dim": 0}, "time_embedding_dim"),
        ({"patch": 0}, "patch"),
        ({"patch": True}, "patch"),
    ],
)
def test_impossible_configurations_say_so(changes: dict[str, Any], field: str) -> None:
    parity.assert_impossible(SMALL, changes, field)


@pytest.mark.parametrize(
    ("x", "t", "condition", "message"),
    [
        ((2, 3, 8, 10), (2,), None, r"x is 8 x 10 pixels: give multiples of 4 "),
        ((2, 3, 6, 8), (2,), None, r"x is 6 x 8 pixels: give multiples of 4 "),
        ((2, 1, 8, 8), (2,), None, r"x has shape \(2, 1, 8, 8\): give \(batch, 3, "),
        ((3, 8, 8), (2,), None, r"x has shape \(3, 8, 8\): give "),
        ((2, 3, 8, 8), (1,), None, r"t has shape \(1,\): give .*\(2,\)"),
        ((2, 3, 8, 8), (), None, r"t has shape \(\): give "),
        ((2, 3, 8, 8), (2,), (2, 63), r"condition has shape \(2, 63\): give \(2, 64\)"),
        ((2, 3, 8, 8), (2,), (1, 64), r"condition has shape \(1, 64\): give \(2, 64\)"),
    ],
)
def test_unfitting_inputs_say_so(
    x: tuple[int, ...], t: tuple[int, ...], condition: tuple[int, ...] | None, message: str
) -> None:
    unet = UNet(replace(SMALL, patch=2))
    with pytest.raises(ValueError, match=message) as raised:
        unet(torch.zeros(x), torch.zeros(t), None if condition is None else torch.zeros(condition))
    assert "\n" not in str(raised.value)


def test_label_embedding_of_no_labels_is_learned() -> None:
    torch.manual_seed(0)
    embed = LabelEmbedding(width=64)
    nothing = torch.zeros(2, 24)
    embedded = embed(nothing)
    assert embedded.shape == (2, 64)
    expected = embed.linear_2(F.silu(embed.linear_1.bias))
    torch.testing.assert_close(embedded, expected.expand(2, 64))
    assert embedded.abs().max() > 0.01  # the zero is in the labels, not in the embedding
    (gradient,) = torch.autograd.grad(embedded.sum(), embed.linear_1.bias)
    assert gradient.abs().max() > 0


def test_label_embedding_tells_sets_of_labels_apart() -> None:
    torch.manual_seed(0)
    embed = LabelEmbedding(labels=3, width=8)
    sets = torch.tensor(list(itertools.product([0.0, 1.0], repeat=3)))
    distances = torch.cdist(embed(sets), embed(sets)) + torch.eye(8)
    assert distances.min() > 1e-2


def test_label_embedding_refuses_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match=r"labels have shape \(2, 3\): give \(batch, 24\)"):
        LabelEmbedding(width=8)(torch.zeros(2, 3))
    with pytest.raises(ValueError, match="labels is 0: give 1 or more"):
        LabelEmbedding(labels=0, width=8)
    with pytest.raises(ValueError, match="width is -1: give 1 or more"):
        LabelEmbedding(width=-1)


def test_label_embedding_conditions_the_unet() -> None:
    unet = make(SMALL)
    embed = LabelEmbedding(labels=4, width=SMALL.embedding_dim)
    x, t, _ = inputs(SMALL)
    with_label = unet(x, t, embed(torch.tensor([[0.0, 1, 0, 0], [1, 0, 0, 1]])))
    without = unet(x, t, embed(torch.zeros(2, 4)))
    assert (with_label - without).flatten(1).abs().amax(dim=1).min() > 1e-4


def relative_error(found: Tensor, expected: Tensor) -> float:
    return float((found.detach().double() - expected.detach()).norm() / expected.detach().norm())


def normalisation(
    dtype: torch.dtype, groups: int, use: str, memory_format: torch.memory_format
) -> tuple[torch.nn.GroupNorm, Tensor, dict[str, Any], list[Tensor]]:
    """A group norm, an image far from mean 0, the other arguments of `use`, and all leaves."""
    torch.manual_seed(0)
    norm = torch.nn.GroupNorm(groups, 16, dtype=torch.float64)
    torch.nn.init.uniform_(norm.weight, 0.5, 1.5)
    torch.nn.init.uniform_(norm.bias, -0.5, 0.5)
    x = (3 + torch.randn(3, 16, 6, 10, dtype=torch.float64)).to(dtype)
    x = x.to(memory_format=memory_format).requires_grad_()
    extras = [torch.randn(3, 16, dtype=torch.float64).to(dtype).requires_grad_() for _ in range(2)]
    norm = norm.to(torch.promote_types(dtype, torch.float32))
    if use == "scale_shift":
        return norm, x, {"scale_shift": tuple(extras)}, [x, *norm.parameters(), *extras]
    if use == "before":
        return norm, x, {"before": extras[0]}, [x, *norm.parameters(), extras[0]]
    return norm, x, {}, [x, *norm.parameters()]


@pytest.mark.parametrize("use", ["alone", "before", "scale_shift"])
@pytest.mark.parametrize("groups", [1, 2, 4, 16])
@pytest.mark.parametrize("silu", [False, True])
@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-13), (torch.float32, 1e-6), (torch.bfloat16, 1e-2)]
)
def test_group_norm_is_torchs_and_silu(
    monkeypatch: pytest.MonkeyPatch,
    use: str,
    groups: int,
    silu: bool,
    large: bool,
    dtype: torch.dtype,
    tolerance: float,
) -> None:
    """Channels_last, with the kernels for large and for small images, against float64."""
    monkeypatch.setattr("lockstep.models.unet.norm.LARGE", 1 if large else 1 << 62)
    norm, x, arguments, leaves = normalisation(dtype, groups, use, torch.channels_last)
    y = group_norm(norm, x, silu=silu, **arguments)
    assert y.dtype == dtype
    assert y.is_contiguous(memory_format=torch.channels_last)

    exact = [leaf.detach().double().contiguous().requires_grad_() for leaf in leaves]
    h, weight, bias, *extras = exact
    if use == "before":
        h = h + extras[0][:, :, None, None]
    expected = F.group_norm(h, groups, weight, bias, norm.eps)
    if use == "scale_shift":
        scale, shift = (extra[:, :, None, None] for extra in extras)
        expected = expected * (1 + scale) + shift
    expected = F.silu(expected) if silu else expected
    assert relative_error(y, expected) < tolerance

    projection = torch.randn_like(expected)
    found = torch.autograd.grad(y, leaves, projection.to(dtype))
    for gradient, leaf, wanted in zip(
        found, leaves, torch.autograd.grad(expected, exact, projection), strict=True
    ):
        assert gradient.dtype == leaf.dtype
        # Where each channel is a group, the gradient of a shift before it is 0 but for rounding.
        assert (gradient - wanted).norm() < tolerance * max(wanted.norm(), projection.norm())


@pytest.mark.parametrize("use", ["alone", "before", "scale_shift"])
@pytest.mark.parametrize("groups", [2, 8])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_group_norms_gradients_are_those_of_its_function(
    use: str, groups: int, memory_format: torch.memory_format
) -> None:
    torch.manual_seed(0)
    norm = torch.nn.GroupNorm(groups, 8, dtype=torch.float64)
    x = torch.randn(2, 8, 2, 3, dtype=torch.float64).to(memory_format=memory_format)
    extras = [torch.randn(2, 8, dtype=torch.float64).requires_grad_() for _ in range(2)]

    def function(x: Tensor, weight: Tensor, bias: Tensor, *extras: Tensor) -> Tensor:
        before = extras[0] if len(extras) == 1 else None
        scale_shift = (extras[0], extras[1]) if len(extras) == 2 else None
        return group_norm(norm, x, before=before, scale_shift=scale_shift, silu=True)

    count = {"alone": 0, "before": 1, "scale_shift": 2}[use]
    # The parameters are the norm's own: gradcheck moves them in place.
    leaves = (x.requires_grad_(), norm.weight, norm.bias, *extras[:count])
    assert torch.autograd.gradcheck(function, leaves)


@pytest.mark.parametrize("large", [False, True])
def test_group_norm_bears_a_large_mean(monkeypatch: pytest.MonkeyPatch, large: bool) -> None:
    """Variances are no differences of squares, which cancel: PyTorch's own error here is 0.14."""
    monkeypatch.setattr("lockstep.models.unet.norm.LARGE", 1 if large else 1 << 62)
    torch.manual_seed(0)
    x = (1000 + torch.randn(2, 8, 16, 16)).to(memory_format=torch.channels_last)
    norm = torch.nn.GroupNorm(2, 8)
    expected = F.group_norm(x.double(), 2, eps=norm.eps)
    assert relative_error(group_norm(norm, x), expected) < 1e-3


def test_group_norm_under_autocast_stays_in_bfloat16() -> None:
    norm = torch.nn.GroupNorm(2, 8)
    x = torch.randn(2, 8, 4, 4).bfloat16().to(memory_format=torch.channels_last)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = group_norm(norm, x, before=torch.randn(2, 8).bfloat16(), silu=True)
    assert y.dtype == torch.bfloat16


def test_group_norm_of_no_images() -> None:
    x = torch.zeros(0, 8, 4, 4).to(memory_format=torch.channels_last).requires_grad_()
    y = group_norm(torch.nn.GroupNorm(2, 8), x, silu=True)
    (gradient,) = torch.autograd.grad(y, x, torch.zeros_like(y))
    assert y.shape == gradient.shape == (0, 8, 4, 4)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-13), (torch.float32, 1e-6), (torch.bfloat16, 1e-2)]
)
def test_upsample_convolve_is_interpolation_and_convolution(
    memory_format: torch.memory_format, dtype: torch.dtype, tolerance: float
) -> None:
    torch.manual_seed(0)
    x, weight = torch.randn(2, 3, 5, 7), torch.randn(4, 3, 3, 3)
    leaves = [
        x.to(dtype).to(memory_format=memory_format).requires_grad_(),
        weight.to(dtype).to(memory_format=memory_format).requires_grad_(),
        torch.randn(4).to(dtype).requires_grad_(),
    ]
    exact = [leaf.detach().double().requires_grad_() for leaf in leaves]
    y = upsample_convolve(*leaves)
    assert y.is_contiguous(memory_format=torch.channels_last)
    doubled = F.interpolate(exact[0], scale_factor=2.0, mode="nearest")
    expected = F.conv2d(doubled, exact[1], exact[2], padding=1)
    assert relative_error(y, expected) < tolerance
    projection = torch.randn_like(expected)
    found = torch.autograd.grad(y, leaves, projection.to(dtype))
    wanted = torch.autograd.grad(expected, exact, projection)
    for gradient, other in zip(found, wanted, strict=True):
        assert relative_error(gradient, other) < tolerance


def test_a_step_is_the_same_every_time() -> None:
    """Bit for bit, at a fixed number of threads; images large enough for threads to share them."""
    config = replace(SMALL, channels=(32, 32))
    unet = make(config).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    x, t, condition = inputs(config, height=64, width=64)
    runs = []
    for _ in range(3):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            output = unet(x, t, condition)
        runs.append({"output": output, **parity.gradients(unet, output)})
    for name, tensor in runs[0].items():
        assert torch.equal(runs[1][name], tensor), name
        assert torch.equal(runs[2][name], tensor), name


def test_inference_mode_gives_the_same() -> None:
    unet = make(SMALL).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    x, t, condition = inputs(SMALL)
    expected = unet(x, t, condition)
    with torch.inference_mode():
        torch.testing.assert_close(unet(x, t, condition), expected, rtol=0, atol=0)
