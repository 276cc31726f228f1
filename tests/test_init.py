"""The first weights of a U-Net."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lockstep.models.unet import CrossAttentionUNet, CrossAttentionUNetConfig, UNet, UNetConfig
from lockstep.models.unet.blocks import Resnet
from lockstep.models.unet.init import zero_residuals


def plain() -> UNet:
    return UNet(
        UNetConfig(
            channels=(8, 16),
            attention=(True, True),
            attention_head_dim=8,
            layers_per_block=1,
            norm_groups=4,
        )
    )


def attending() -> CrossAttentionUNet:
    return CrossAttentionUNet(
        CrossAttentionUNetConfig(
            channels=(8, 16),
            cross_attention=(False, True),
            cross_attention_dim=6,
            heads=2,
            in_channels=3,
            out_channels=3,
            layers_per_block=1,
            norm_groups=4,
        )
    )


def inputs(unet: nn.Module) -> list[torch.Tensor]:
    context = [torch.randn(2, 5, 6)] if isinstance(unet, CrossAttentionUNet) else []
    return [torch.randn(2, 3, 8, 8), torch.tensor([3, 900]), *context]


@pytest.mark.parametrize("make", [plain, attending])
def test_the_first_output_is_zero_and_its_gradient_is_not(make: type[nn.Module]) -> None:
    torch.manual_seed(0)
    unet = make()
    assert unet(*inputs(unet)).abs().max() > 0.01
    zero_residuals(unet)
    output = unet(*inputs(unet))
    assert torch.equal(output, torch.zeros_like(output))
    (output - 1).square().mean().backward()
    assert unet.conv_out.weight.grad.abs().max() > 0


@pytest.mark.parametrize("make", [plain, attending])
def test_a_branch_begins_as_the_identity_and_learns(make: type[nn.Module]) -> None:
    torch.manual_seed(0)
    unet = make()
    zero_residuals(unet)
    kept = [m for m in unet.modules() if isinstance(m, Resnet) and m.conv1.in_channels == 8]
    resnet = next(m for m in kept if m.conv1.out_channels == 8)
    x, emb = torch.randn(2, 8, 4, 4), torch.randn(2, unet.config.embedding_dim)
    assert torch.equal(resnet(x, emb), x)
    attention, x = unet.mid_block.attentions[0], torch.randn(2, 16, 4, 4)
    assert torch.equal(attention(x, *_context(unet)), x)
    optimizer = torch.optim.AdamW(unet.parameters(), 1e-2)
    target = torch.randn(2, 3, 8, 8)
    arguments = inputs(unet)
    for _ in range(3):  # zeros upon zeros pass no gradient on at the first step
        optimizer.zero_grad()
        (unet(*arguments) - target).square().mean().backward()
        optimizer.step()
    still = [name for name, p in unet.named_parameters() if p.dim() > 1 and not p.any()]
    assert still == []


def _context(unet: nn.Module) -> list[torch.Tensor | None]:
    return [torch.randn(2, 5, 6), None] if isinstance(unet, CrossAttentionUNet) else []
