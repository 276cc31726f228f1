"""Muon against torch's own, and what its iteration promises."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from lockstep.training.muon import Muon, matrices_of, orthogonalize


@pytest.mark.parametrize("shape", [(24, 24), (16, 40), (40, 16)])
def test_singular_values_end_near_one(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    u, s, vh = torch.linalg.svd(torch.randn(3, *shape), full_matrices=False)
    given = torch.linspace(0.1, 1, s.shape[1])
    inner = u.mT @ orthogonalize(u * given @ vh) @ vh.mT
    assert inner.diagonal(dim1=1, dim2=2).min() > 0.65 and inner.max() < 1.25
    # Its directions are the matrix's own.
    off_diagonal = inner - torch.diag_embed(inner.diagonal(dim1=1, dim2=2))
    assert off_diagonal.abs().max() < 1e-4


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_linear_layers_step_as_torchs_own(weight_decay: float) -> None:
    torch.manual_seed(0)
    ours = nn.Sequential(nn.Linear(20, 32), nn.Linear(32, 32), nn.Linear(32, 20))
    theirs = copy.deepcopy(ours)
    a = Muon(matrices_of(ours), lr=0.02, weight_decay=weight_decay, dtype=torch.bfloat16)
    b = torch.optim.Muon(matrices_of(theirs), lr=0.02, weight_decay=weight_decay)
    for step in range(5):
        x = torch.randn(8, 20, generator=torch.Generator().manual_seed(step))
        for model, optimizer in ((ours, a), (theirs, b)):
            optimizer.zero_grad()
            model(x).square().mean().backward()
            optimizer.step()
    for mine, his in zip(matrices_of(ours), matrices_of(theirs), strict=True):
        # Both round to bfloat16 (8 bits), in sums of another order; a step is some 0.02 long.
        torch.testing.assert_close(mine, his, rtol=0, atol=2e-3)
        assert (mine - his).norm() < 0.02 * (mine - mine.detach().mean()).norm()


def test_a_convolution_is_the_matrix_of_its_outputs() -> None:
    torch.manual_seed(0)
    convolution = nn.Conv2d(6, 10, 3).to(memory_format=torch.channels_last)
    linear = nn.Linear(54, 10)
    with torch.no_grad():
        linear.weight.copy_(convolution.weight.flatten(1))
    gradient = torch.randn(10, 6, 3, 3)
    convolution.weight.grad, linear.weight.grad = gradient, gradient.flatten(1)
    Muon([convolution.weight], lr=0.1).step()
    Muon([linear.weight], lr=0.1).step()
    torch.testing.assert_close(convolution.weight.flatten(1), linear.weight)
    assert convolution.weight.is_contiguous(memory_format=torch.channels_last)


def test_which_weights_are_matrices() -> None:
    model = nn.ModuleDict(
        {
            "conv_in": nn.Conv2d(3, 4, 3),
            "inner": nn.Sequential(nn.Conv2d(4, 4, 3), nn.GroupNorm(2, 4), nn.Linear(4, 4)),
            "embedding": nn.Embedding(5, 4),
            "conv_out": nn.Conv2d(4, 3, 3),
        }
    )
    inner = model["inner"]
    assert isinstance(inner, nn.Sequential)
    assert [id(matrix) for matrix in matrices_of(model)] == [
        id(inner[0].weight),
        id(inner[2].weight),
    ]
