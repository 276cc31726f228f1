"""Labels and words that are given places in the image."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from lockstep.models.conditions import Conditions
from lockstep.models.generator import Generator
from lockstep.models.unet import CrossAttentionUNet, CrossAttentionUNetConfig, UNet, UNetConfig
from lockstep.models.unet.init import zero_residuals
from lockstep.models.unet.placement import Placement, Tokens, apart

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
                weights = torch.softmax(keys @ query / 32**0.5, 0)
                assert weights.sum().item() == pytest.approx(1, abs=1e-5)
                value = layer.to_v(token)[own]
                placed[:, own] += (height * width) ** 0.5 * weights[:, None] * value
        out[b] += layer.to_out(placed).T.view(channels, height, width)
    return out


def test_a_tokens_weights_add_up_to_one_over_the_places() -> None:
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


def test_kept_activations_or_not_gives_the_same(unet: UNet | CrossAttentionUNet) -> None:
    config = replace(unet.config, gradient_checkpointing=True)
    other = type(unet)(config)  # type: ignore[arg-type]
    other.load_state_dict(unet.state_dict())
    given = inputs(unet)
    for each in (unet, other):
        each.train()(**given).square().mean().backward()
    for (name, ours), theirs in zip(unet.named_parameters(), other.parameters(), strict=True):
        assert ours.grad is not None, name
        torch.testing.assert_close(ours.grad, theirs.grad)


def test_it_begins_as_nothing(unet: UNet | CrossAttentionUNet) -> None:
    """With zeros in its last layer it is the network without it."""
    zero_residuals(unet)
    torch.nn.init.normal_(unet.conv_out.weight)
    plain = type(unet)(replace(unet.config, placement_heads=0))  # type: ignore[arg-type]
    placed, resnets = apart(unet.state_dict())
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
    with pytest.raises(ValueError, match="placement_heads is 2: without labels or text there is"):
        Generator(SMALL, labels=0)
    unet = UNet(SMALL)
    given = inputs(unet)
    with pytest.raises(ValueError, match="context is None: placement_heads is 2, and only above 0"):
        unet(given["x"], given["t"])
    with pytest.raises(ValueError, match="context is given: placement_heads is 0, and only above"):
        UNet(replace(SMALL, placement_heads=0))(**given)
    with pytest.raises(ValueError, match=r"context has shape \(2, 5, 31\): give \(2, length, 32\)"):
        unet(given["x"], given["t"], None, torch.randn(2, 5, 31))
    with pytest.raises(ValueError, match=r"mask has shape \(2, 4\): give \(2, 5\)"):
        unet(**given, mask=torch.ones(2, 4, dtype=torch.bool))
