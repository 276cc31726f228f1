"""The U-Net with cross-attention against diffusers' UNet2DConditionModel, and its attention."""

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import parity
from lockstep.models.unet import CrossAttentionUNet, CrossAttentionUNetConfig, UNet, UNetConfig
from lockstep.models.unet.blocks import PLAIN_ATTENTION_LENGTH, attend
from lockstep.models.unet.transformer import FeedForward, Transformer

SMALL = CrossAttentionUNetConfig(
    channels=(16, 32),
    cross_attention=(True, False),
    cross_attention_dim=12,
    heads=4,
    norm_groups=8,
)

PUBLISHED = CrossAttentionUNetConfig(
    channels=(256, 384, 512, 768),
    cross_attention=(True, True, True, False),
    cross_attention_dim=512,
    heads=16,
)

LENGTH = 5  # of the contexts

# (configuration, batch, height, width, whether with a mask, whether with a condition)
PARITY = {
    "small": (SMALL, 2, 8, 8, False, False),
    "lowest level only, one layer, scale and shift": (
        CrossAttentionUNetConfig(
            channels=(12, 24, 30),
            cross_attention=(False, False, True),
            cross_attention_dim=7,
            in_channels=3,
            out_channels=6,
            layers_per_block=1,
            heads=3,
            norm_groups=6,
            scale_shift=True,
        ),
        *(3, 8, 12, True, True),
    ),
    "heads that do not fill the layer": (
        replace(SMALL, channels=(16, 24), cross_attention=(True, True), heads=5),
        *(2, 8, 8, True, False),
    ),
    "other time embedding, epsilon and padding": (
        replace(
            SMALL,
            time_embedding_dim=36,
            norm_eps=0.1,
            flip_sin_to_cos=False,
            freq_shift=1,
            downsample_padding=0,
        ),
        *(2, 6, 10, False, True),
    ),
    "one level, one head, dropout": (
        replace(SMALL, channels=(16,), cross_attention=(False,), heads=1, dropout=0.3),
        *(2, 5, 7, True, True),
    ),
}


def theirs_of(config: CrossAttentionUNetConfig, condition: bool = False) -> Any:
    """diffusers' model of the same configuration."""
    pytest.importorskip("diffusers")
    from lockstep.export.networks import library_unet

    return library_unet(config, condition)


def make(config: CrossAttentionUNetConfig) -> CrossAttentionUNet:
    return parity.make(CrossAttentionUNet, config)


def inputs(
    config: CrossAttentionUNetConfig, batch: int = 2, height: int = 8, width: int = 8
) -> tuple[Tensor, Tensor, Tensor]:
    """Images, timesteps, contexts."""
    x, t = parity.images(config, batch, height, width)
    return x, t, torch.randn(batch, LENGTH, config.cross_attention_dim)


def mask_of(batch: int) -> Tensor:
    """Each image attends to one position more than the one before it, not to the first ones."""
    return torch.arange(LENGTH) >= LENGTH - 1 - torch.arange(batch)[:, None]


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("case", PARITY)
def test_parity_with_diffusers(case: str, memory_format: torch.memory_format) -> None:
    config, batch, height, width, masked, conditioned = PARITY[case]
    torch.manual_seed(0)
    theirs = theirs_of(config, conditioned).eval()
    parity.randomise_norms(theirs)
    ours = CrossAttentionUNet(config).eval()
    parity.take_over(ours, theirs, memory_format)
    x, t, context = inputs(config, batch, height, width)
    mask = mask_of(batch) if masked else None
    condition = torch.randn(batch, config.embedding_dim) if conditioned else None
    leaves = [leaf for leaf in (x, context, condition) if leaf is not None]
    for leaf in leaves:
        leaf.requires_grad_()
    our_output = ours(x, t, context, mask, condition)
    their_output = theirs(x, t, context, encoder_attention_mask=mask, class_labels=condition).sample
    assert our_output.shape == (batch, config.out_channels, height, width)
    parity.assert_same_computation(ours, our_output, theirs, their_output, *leaves)


def test_parity_of_the_published_configuration() -> None:
    torch.manual_seed(0)
    theirs = theirs_of(PUBLISHED).eval()
    parity.randomise_norms(theirs)
    with torch.device("meta"):
        ours = CrossAttentionUNet(PUBLISHED).eval()
    assert parity.shapes(ours) == parity.shapes(theirs)
    ours.load_state_dict(theirs.state_dict(), strict=True, assign=True)
    x, t, context = inputs(PUBLISHED, 1, 16, 16)
    with torch.no_grad():
        output = ours(x, t, context, torch.ones(1, LENGTH, dtype=torch.bool))
        expected = theirs(x, t, context).sample
    assert expected.std() > 0.1
    torch.testing.assert_close(output, expected, rtol=0, atol=1e-5)


def test_dropout_stands_where_the_librarys_does() -> None:
    config = replace(SMALL, dropout=0.3)
    parity.assert_same_dropout(CrossAttentionUNet(config), theirs_of(config), *inputs(config))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_masked_positions_have_no_influence(dtype: torch.dtype) -> None:
    unet = make(SMALL).to(dtype)
    x, t, context = inputs(SMALL)
    x, context = x.to(dtype), context.to(dtype).requires_grad_()
    mask = mask_of(2)
    output = unet(x, t, context, mask)
    (gradient,) = torch.autograd.grad(output.sum(), context)
    assert (gradient[~mask] == 0).all()
    assert (gradient[mask] != 0).any(dim=1).all()
    with torch.no_grad():
        other = torch.where(mask[:, :, None], context, 100 * torch.randn_like(context))
        torch.testing.assert_close(unet(x, t, other, mask), output, rtol=0, atol=0)
        shorter = torch.cat(
            [unet(x[:1], t[:1], context[:1, -1:]), unet(x[1:], t[1:], context[1:, -2:])]
        )
        tolerance = 1e-5 if dtype == torch.float32 else 0.05
        torch.testing.assert_close(shorter, output, rtol=0, atol=tolerance)
        assert (unet(x, t, context) - output).abs().max() > 1e-3


def test_a_mask_of_all_is_no_mask() -> None:
    unet = make(SMALL)
    x, t, context = inputs(SMALL)
    everything = torch.ones(2, LENGTH, dtype=torch.bool)
    torch.testing.assert_close(unet(x, t, context, everything), unet(x, t, context))


def test_order_of_the_context_means_nothing_but_its_image_does() -> None:
    unet = make(SMALL)
    x, t, context = inputs(SMALL)
    output = unet(x, t, context)
    torch.testing.assert_close(unet(x, t, context.flip(1)), output, rtol=0, atol=1e-5)
    assert (unet(x, t, context.flip(0)) - output).flatten(1).abs().amax(dim=1).min() > 1e-3


def test_no_condition_is_a_zero_condition() -> None:
    unet = make(SMALL)
    x, t, context = inputs(SMALL)
    condition = torch.randn(2, SMALL.embedding_dim)
    plain = unet(x, t, context)
    zero = unet(x, t, context, condition=torch.zeros_like(condition))
    torch.testing.assert_close(zero, plain, rtol=0, atol=0)
    assert (unet(x, t, context, condition=condition) - plain).abs().max() > 1e-3


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_gradient_checkpointing_changes_no_gradient(dropout: float) -> None:
    plain = make(replace(SMALL, dropout=dropout))
    checkpointed = CrossAttentionUNet(replace(plain.config, gradient_checkpointing=True))
    parity.assert_checkpointing_changes_no_gradient(
        plain, checkpointed, "mid_block.attentions.0", *inputs(SMALL), mask_of(2)
    )


def test_patch_folds_pixels_into_channels() -> None:
    unet = make(replace(SMALL, patch=2))
    inner = CrossAttentionUNet(replace(SMALL, in_channels=16, out_channels=16))
    inner.load_state_dict(unet.state_dict())
    x, t, context = inputs(SMALL, height=8, width=12)
    expected = F.pixel_shuffle(inner(F.pixel_unshuffle(x, 2), t, context), 2)
    torch.testing.assert_close(unet(x, t, context), expected, rtol=0, atol=0)


def test_channels_last_gives_the_same() -> None:
    output = parity.assert_same_in_channels_last(make(SMALL), *inputs(SMALL), mask_of(2))
    assert output.is_contiguous(memory_format=torch.channels_last)


def test_transformer_of_channels_last_copies_nothing_into_rows() -> None:
    transformer = Transformer(32, SMALL).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    seen = []
    block = transformer.transformer_blocks[0]
    block.register_forward_hook(lambda _, args, output: seen.extend((args[0], output)))
    x = torch.randn(2, 32, 4, 4).to(memory_format=torch.channels_last)
    output = transformer(x, torch.randn(2, LENGTH, SMALL.cross_attention_dim), None)
    assert [rows.shape for rows in seen] == [(2, 16, 32)] * 2
    assert all(rows.is_contiguous() for rows in seen)
    assert output.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_bfloat16_autocast_is_close(memory_format: torch.memory_format) -> None:
    x, t, context = inputs(SMALL)
    x = x.to(memory_format=memory_format)
    parity.assert_close_in_bfloat16_autocast(make(SMALL), x, t, context, mask_of(2))


def test_weights_in_bfloat16_take_a_context_in_float32() -> None:
    parity.assert_close_with_weights_in_bfloat16(make(SMALL), *inputs(SMALL))


@pytest.mark.parametrize("queries", [3, PLAIN_ATTENTION_LENGTH + 44])
@pytest.mark.parametrize("length", [7, PLAIN_ATTENTION_LENGTH, PLAIN_ATTENTION_LENGTH + 1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_attend_with_a_mask_is_its_equation(queries: int, length: int, dtype: torch.dtype) -> None:
    """Either side of the length, and of the type, at which the way of computing it changes."""
    torch.manual_seed(0)
    q = torch.randn(2, 3, queries, 8).to(dtype)
    k, v = (torch.randn(2, 3, length, 8).to(dtype) for _ in range(2))
    mask = torch.rand(2, 1, 1, length) < 0.5
    scores = torch.einsum("bhqd,bhkd->bhqk", q.double(), k.double()) / 8**0.5
    weights = scores.exp() * mask
    weights /= weights.sum(dim=3, keepdim=True)
    expected = torch.einsum("bhqk,bhkd->bhqd", weights, v.double())
    tolerance = 1e-5 if dtype == torch.float32 else 0.02
    torch.testing.assert_close(attend(q, k, v, mask).double(), expected, rtol=0, atol=tolerance)


def test_feed_forward_is_its_equation() -> None:
    torch.manual_seed(0)
    feed_forward = FeedForward(6)
    x = torch.randn(2, 3, 6)
    w, v = feed_forward.net[0].proj.weight.split(24)
    b, c = feed_forward.net[0].proj.bias.split(24)
    expected = F.linear(
        (x @ w.T + b) * F.gelu(x @ v.T + c), feed_forward.net[2].weight, feed_forward.net[2].bias
    )
    torch.testing.assert_close(feed_forward(x), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"channels": ()}, "channels"),
        ({"channels": (16, 36)}, "channels"),
        ({"cross_attention": (True,)}, "cross_attention"),
        ({"cross_attention": (0, 1)}, "cross_attention"),
        ({"cross_attention_dim": 0}, "cross_attention_dim"),
        ({"heads": 0}, "heads"),
        ({"heads": None}, "heads"),
        ({"heads": 17}, "heads"),
        ({"heads": 33, "cross_attention": (False, False)}, "heads"),
        ({"in_channels": 0}, "in_channels"),
        ({"dropout": 1.0}, "dropout"),
        ({"freq_shift": 8}, "freq_shift"),
        ({"patch": True}, "patch"),
    ],
)
def test_impossible_configurations_say_so(changes: dict[str, Any], field: str) -> None:
    parity.assert_impossible(SMALL, changes, field)


def test_heads_may_be_more_than_an_unattended_level_is_wide() -> None:
    config = replace(SMALL, cross_attention=(False, True), heads=32)
    x, t, context = inputs(config)
    assert CrossAttentionUNet(config)(x, t, context).shape == x.shape


FITTING: dict[str, Tensor] = {
    "x": torch.zeros(2, 4, 8, 8),
    "t": torch.zeros(2),
    "context": torch.zeros(2, LENGTH, 12),
    "mask": torch.ones(2, LENGTH, dtype=torch.bool),
    "condition": torch.zeros(2, 64),
}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x": torch.zeros(2, 4, 7, 8)}, r"x is 7 x 8 pixels: give multiples of 2 "),
        ({"x": torch.zeros(2, 3, 8, 8)}, r"x has shape \(2, 3, 8, 8\): give \(batch, 4, "),
        ({"t": torch.zeros(1)}, r"t has shape \(1,\): give .*\(2,\)"),
        ({"context": torch.zeros(2, 12)}, r"context has shape \(2, 12\): give \(2, length, 12\)"),
        ({"context": torch.zeros(1, 5, 12)}, r"context has shape \(1, 5, 12\): give \(2, "),
        ({"context": torch.zeros(2, 5, 11)}, r"context has shape \(2, 5, 11\): give \(2, length, "),
        ({"context": torch.zeros(2, 0, 12)}, r"context has shape \(2, 0, 12\): give .*1 or more"),
        ({"mask": torch.ones(2, 4).bool()}, r"mask has shape \(2, 4\): give \(2, 5\)"),
        ({"mask": torch.ones(5).bool()}, r"mask has shape \(5,\): give \(2, 5\)"),
        ({"mask": torch.ones(2, 5)}, r"mask is of torch.float32: give booleans"),
        ({"mask": torch.arange(2)[:, None].expand(2, 5) == 0}, r"mask is False all along row 1: "),
        ({"condition": torch.zeros(2, 63)}, r"condition has shape \(2, 63\): give \(2, 64\)"),
    ],
)
def test_unfitting_inputs_say_so(changes: dict[str, Tensor], message: str) -> None:
    unet = CrossAttentionUNet(SMALL)
    assert unet(**FITTING).shape == (2, 4, 8, 8)
    with pytest.raises(ValueError, match=message) as raised:
        unet(**FITTING | changes)
    assert "\n" not in str(raised.value)


def test_the_levels_are_those_of_the_plain_unet() -> None:
    """With what only attentions have taken off, the two have the same weights."""
    plain = UNet(
        UNetConfig(
            channels=SMALL.channels,
            attention=SMALL.cross_attention,
            in_channels=4,
            out_channels=4,
            norm_groups=8,
        )
    )
    both = (parity.shapes(plain), parity.shapes(CrossAttentionUNet(SMALL)))
    ours, theirs = ({n: s for n, s in of.items() if "attentions" not in n} for of in both)
    assert ours == theirs
