"""Labels and words that are given places in the image."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

import parity
from lockstep.models.conditions import Conditions
from lockstep.models.generator import Generator
from lockstep.models.unet import CrossAttentionUNet, CrossAttentionUNetConfig, UNet, UNetConfig
from lockstep.models.unet.init import zero_residuals
from lockstep.models.unet.placement import Placement, Tokens, placement_names

SMALL = UNetConfig(
    channels=(8, 16),
    attention=(False, True),
    attention_head_dim=8,
    layers_per_block=1,
    norm_groups=4,
    placement_heads=2,
)
TEXT = CrossAttentionUNetConfig(
    channels=(8, 16),
    cross_attention=(False, True),
    cross_attention_dim=6,
    heads=2,
    in_channels=3,
    out_channels=3,
    layers_per_block=1,
    norm_groups=4,
    placement_heads=1,
)
MADE = {"labels": lambda: UNet(SMALL), "text": lambda: CrossAttentionUNet(TEXT)}


def inputs(unet: UNet | CrossAttentionUNet, length: int = 5) -> dict[str, Tensor]:
    config = unet.config
    width = config.embedding_dim if isinstance(config, UNetConfig) else config.cross_attention_dim
    return {
        "x": torch.randn(2, 3, 8, 8),
        "t": torch.tensor([3, 900]),
        "context": torch.randn(2, length, width),
    }


@pytest.fixture(params=MADE)
def unet(request: pytest.FixtureRequest) -> UNet | CrossAttentionUNet:
    torch.manual_seed(0)
    made: UNet | CrossAttentionUNet = MADE[request.param]().eval()
    return made


def by_hand(layer: Placement, x: Tensor, said: Tensor) -> Tensor:
    """The same sums, pixel by pixel and token by token."""
    batch, channels, height, width = x.shape
    pixels = layer.group_norm(x).permute(0, 2, 3, 1).reshape(batch, height * width, channels)
    out = x.clone()
    for b in range(batch):
        placed = torch.zeros(height * width, layer.to_v.out_features)
        for token in said[b]:
            for head in range(layer.heads):
                own = slice(32 * head, 32 * head + 32)
                keys, query = layer.to_k(pixels[b])[:, own], layer.to_q(token)[own]
                weights = torch.softmax(keys @ query / 32**0.5, 0)  # over the pixels
                value = layer.to_v(token)[own]
                placed[:, own] += (height * width) ** 0.5 * weights[:, None] * value
        out[b] += layer.to_out(placed).T.view(channels, height, width)
    return out


def test_each_token_divides_its_attention_among_the_pixels() -> None:
    torch.manual_seed(0)
    layer, x, said = Placement(8, SMALL), torch.randn(2, 8, 4, 3), torch.randn(2, 3, 128)
    all_of_it = Tokens(said, torch.ones(2, 3, dtype=torch.bool))
    torch.testing.assert_close(layer(x, all_of_it), by_hand(layer, x, said), atol=1e-5, rtol=1e-5)
    rows = x.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(layer(rows, all_of_it), layer(x, all_of_it), atol=1e-5, rtol=1e-5)


def test_what_is_masked_adds_nothing(unet: UNet | CrossAttentionUNet) -> None:
    given = inputs(unet)
    mask = torch.tensor([[True, False, True, False, False]] * 2)
    other = {**given, "context": given["context"].masked_fill(~mask[:, :, None], 7.0)}
    assert torch.equal(unet(**given, mask=mask), unet(**other, mask=mask))
    assert not torch.allclose(unet(**given, mask=mask), unet(**given), atol=1e-4)


def test_the_order_of_labels_says_nothing() -> None:
    torch.manual_seed(0)
    unet = UNet(SMALL).eval()
    given = inputs(unet)
    turned = {**given, "context": given["context"].flip(1)}
    torch.testing.assert_close(unet(**given), unet(**turned), atol=1e-5, rtol=1e-4)


def in_order(unet: UNet | CrossAttentionUNet) -> tuple[Tensor | None, ...]:
    """The same inputs without their names."""
    x, t, context = inputs(unet).values()
    condition = torch.randn(2, unet.config.embedding_dim)
    return (x, t, condition, context) if isinstance(unet, UNet) else (x, t, context)


def test_checkpointing_changes_no_gradient(unet: UNet | CrossAttentionUNet) -> None:
    config = replace(unet.config, gradient_checkpointing=True)
    other = type(unet)(config)  # type: ignore[arg-type]
    part = "mid_block.placements.0.to_k"
    parity.assert_checkpointing_changes_no_gradient(unet, other, part, *in_order(unet))


def test_formats_of_memory_and_numbers(unet: UNet | CrossAttentionUNet) -> None:
    parity.randomise_norms(unet)
    x, *others = in_order(unet)
    parity.assert_close_with_weights_in_bfloat16(unet, x, *others)
    parity.assert_same_in_channels_last(unet, x, *others)
    parity.assert_close_in_bfloat16_autocast(unet, x, *others)


def test_it_begins_as_nothing(unet: UNet | CrossAttentionUNet) -> None:
    """With zeros in its last layer it is the network without it."""
    zero_residuals(unet)
    torch.nn.init.normal_(unet.conv_out.weight)
    plain = type(unet)(replace(unet.config, placement_heads=0))  # type: ignore[arg-type]
    placed, resnets = placement_names(unet.state_dict())
    assert len(resnets) == 8  # 1 + 1 down, 2 in the middle, 2 + 2 up
    plain.load_state_dict({n: w for n, w in unet.state_dict().items() if n not in placed})
    given = inputs(unet)
    without = {
        k: v for k, v in given.items() if k != "context" or not isinstance(unet.config, UNetConfig)
    }
    assert torch.equal(unet(**given), plain.eval()(**without))


def test_labels_that_are_dropped_have_no_place() -> None:
    torch.manual_seed(0)
    generator = Generator(SMALL, labels=3).eval()
    x, t = torch.randn(3, 3, 8, 8), torch.tensor([5, 50, 500])
    labels = torch.tensor([[1, 0, 1], [0, 1, 0], [0, 0, 0]])
    said, nothing = Conditions.of(labels), Conditions.of(torch.zeros_like(labels))
    assert torch.equal(generator(x, t, said.null()), generator(x, t, nothing))
    assert not torch.allclose(generator(x, t, said)[:2], generator(x, t, nothing)[:2], atol=1e-4)
    assert torch.equal(generator(x, t, said)[2], generator(x, t, nothing)[2])


def test_what_cannot_be_is_one_line() -> None:
    with pytest.raises(ValueError, match=r"placement_heads is -1: give a whole number, 0 for none"):
        replace(SMALL, placement_heads=-1)
    with pytest.raises(ValueError, match=r"placement_heads is 2: without labels or text there is"):
        Generator(SMALL, labels=0)
    unet = UNet(SMALL)
    given = inputs(unet)
    with pytest.raises(ValueError, match=r"context is None: give one exactly where .* it is 2"):
        unet(given["x"], given["t"])
    with pytest.raises(ValueError, match=r"context is given: give one exactly where .* it is 0"):
        UNet(replace(SMALL, placement_heads=0))(**given)
    with pytest.raises(ValueError, match=r"context has shape \(2, 5, 31\): give \(2, length, 32\)"):
        unet(given["x"], given["t"], None, torch.randn(2, 5, 31))
    with pytest.raises(ValueError, match=r"mask has shape \(2, 4\): give \(2, 5\)"):
        unet(**given, mask=torch.ones(2, 4, dtype=torch.bool))
