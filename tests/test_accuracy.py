from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lockstep.evaluation import accuracy

LABELS = torch.tensor([[1, 0, 0, 0], [1, 1, 0, 0], [0, 1, 1, 1]])
SCORES = torch.tensor([[0.9, 0.8, 0.1, 0.1], [0.6, 0.2, 0.7, 0.1], [0.9, 0.8, 0.7, 0.6]])


def test_by_hand() -> None:
    assert accuracy.found(SCORES, LABELS).nonzero().tolist() == [[0, 0], [1, 0], [2, 1], [2, 2]]
    assert accuracy.top_k_accuracy(SCORES, LABELS) == 4 / 6
    # Above one half: {0, 1}, {0, 2}, {0, 1, 2, 3}.
    assert accuracy.exact_match(SCORES, LABELS) == 0
    assert accuracy.false_objects(SCORES, LABELS) == 1
    assert accuracy.exact_match(LABELS.float(), LABELS) == 1


def official_rule(scores: torch.Tensor, labels: torch.Tensor) -> float:
    """The rule as it is stated: of the k highest scores, how many are true; over all labels."""
    right = total = 0
    for row, truth in zip(scores.tolist(), labels.tolist(), strict=True):
        k = sum(truth)
        best = sorted(range(len(row)), key=lambda i: -row[i])[:k]
        right += sum(truth[i] for i in best)
        total += k
    return right / total


@given(st.integers(1, 6), st.integers(0, 10**6))
def test_against_the_rule_in_words(count: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    scores = torch.rand(count, 24, generator=generator)
    labels = torch.zeros(count, 24, dtype=torch.int64)
    for row in labels:
        k = int(torch.randint(1, 4, (), generator=generator))
        row[torch.randperm(24, generator=generator)[:k]] = 1
    assert accuracy.top_k_accuracy(scores, labels) == pytest.approx(official_rule(scores, labels))
    assert accuracy.top_k_accuracy(labels.float(), labels) == 1


def test_chance_is_what_a_blind_judge_gets() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.zeros(20_000, 24)
    labels[:, :3] = 1
    scores = torch.rand(20_000, 24, generator=generator)
    assert accuracy.top_k_accuracy(scores, labels) == pytest.approx(3 / 24, abs=0.005)
