from __future__ import annotations

import torch

from lockstep.evaluation.evaluators.classifier import Scored, by_object, by_size

LABELS = torch.tensor([[1, 0, 0], [1, 1, 0]], dtype=torch.uint8)
ONE = torch.tensor([[0.9, 0.1, 0.8], [0.9, 0.2, 0.3]])
OTHER = torch.tensor([[0.2, 0.9, 0.1], [0.7, 0.6, 0.1]])
SCORED = [
    Scored("test", LABELS, ONE),
    Scored("new", LABELS[:1], ONE[:1]),
    Scored("test", LABELS, OTHER),
]


def test_a_row_for_each_object() -> None:
    rows = by_object(SCORED, ["red cube", "blue cube", "gray cube"])
    assert [tuple(row.values()) for row in rows] == [
        ("test", "red cube", 4, 3, 0.75, 0),
        ("test", "blue cube", 2, 1, 0.5, 1),
        ("test", "gray cube", 0, 0, "", 1),
        ("new", "red cube", 1, 1, 1.0, 0),
        ("new", "blue cube", 0, 0, "", 0),
        ("new", "gray cube", 0, 0, "", 1),
    ]
    assert list(rows[0]) == ["set", "object", "requested", "generated", "accuracy", "unrequested"]


def test_a_row_for_each_number_of_objects() -> None:
    rows = by_size(SCORED)
    assert [tuple(row.values()) for row in rows] == [
        ("test", 1, 2, 0.5, 0.0, 1.0),
        ("test", 2, 2, 0.75, 0.5, 0.0),
        ("new", 1, 1, 1.0, 0.0, 1.0),
    ]
    hits = sum(row["accuracy"] * row["images"] * row["objects"] for row in rows[:2])
    assert hits == sum(row["generated"] for row in by_object(SCORED, ["a", "b", "c"])[:3])
