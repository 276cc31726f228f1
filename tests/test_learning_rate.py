from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lockstep.training import learning_rate


@given(st.integers(1, 500), st.integers(0, 100), st.sampled_from(["constant", "linear", "cosine"]))
def test_the_rate_warms_up_and_never_leaves_its_range(steps, warmup, decay) -> None:
    factors = [
        learning_rate.factor(s, steps=steps, warmup=warmup, decay=decay) for s in range(steps)
    ]
    assert all(0 < f <= 1 for f in factors)
    assert factors[:warmup] == sorted(factors[:warmup])
    assert factors[warmup:] == sorted(factors[warmup:], reverse=True)


def test_the_rate_against_torchs_own_schedulers() -> None:
    parameter = torch.nn.Parameter(torch.zeros(()))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=50)
    for step in range(50):
        expected = learning_rate.factor(step, steps=50, warmup=0, decay="cosine")
        assert scheduler.get_last_lr()[0] == pytest.approx(expected, abs=1e-12)
        optimizer.step()
        scheduler.step()
    assert learning_rate.factor(30, steps=50, warmup=10, decay="linear") == 0.5
