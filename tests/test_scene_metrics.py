from __future__ import annotations

from itertools import permutations
from statistics import stdev

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lockstep.data.annotations import (
    SIDES,
    ImageObject,
    PromptContent,
    PromptObject,
    Relation,
    as_arrays,
    lead,
    number_of,
)
from lockstep.data.clevr import COLOURS, SHAPES
from lockstep.evaluation.scene_evaluator import OBJECTS, Detections
from lockstep.evaluation.scene_metrics import (
    binding_accuracy,
    metrics,
    object_chance,
    of_images,
    relations,
    size_accuracy,
)
from readings import anything

NAMES = [f"{colour} {shape}" for shape in SHAPES for colour in COLOURS]


def says(*names: str, relation: Relation | None = None) -> PromptContent:
    """A sentence about `small red cube` and the like; the size may be left out."""
    split = [name.split() for name in names]
    mentions = [PromptObject(" ".join(n[-2:]), n[0] if len(n) == 3 else None) for n in split]
    return PromptContent(tuple(mentions), relation)


def sees(*rows: dict[str, float]) -> Detections:
    """Scores by name, a mapping for each image; 0.01 for all others."""
    detected = Detections(
        torch.full((len(rows), OBJECTS), 0.01),
        torch.full((len(rows), OBJECTS, 2), 0.5),
        torch.zeros(len(rows), OBJECTS),
    )
    for number, row in enumerate(rows):
        for name, score in row.items():
            detected.present[number, number_of(name)] = score
    return detected


def of_scenes(rows: list[list[ImageObject]]) -> Detections:
    """What an evaluator says that makes no mistake."""
    return Detections(*(torch.from_numpy(part).float() for part in as_arrays(rows)))


@st.composite
def scenes(draw: st.DrawFn) -> tuple[list[ImageObject], PromptContent]:
    """A scene of one or two objects, and a sentence that states all there is to say of it."""
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=2, unique=True))
    centres = draw(st.permutations([(0.2, 0.3), (0.7, 0.8), (0.4, 0.1)]))
    items = [
        ImageObject(name, draw(st.sampled_from(["large", "small"])), *centre)
        for name, centre in zip(names, centres, strict=False)
    ]
    relations = [
        Relation(kind, first, second)
        for first, second in permutations(range(len(items)), 2)
        for kind in SIDES
        if lead(kind, *((items[i].x, items[i].y) for i in (first, second))) > 0
    ]
    mentions = tuple(PromptObject(item.name, item.size) for item in items)
    return items, PromptContent(mentions, draw(st.sampled_from(relations)) if relations else None)


def swapped(stated: PromptContent) -> PromptContent:
    """The colours of two objects exchanged; their sizes stay on the shapes."""
    (one, shape), (other, other_shape) = (mention.name.split() for mention in stated.objects)
    names = (f"{other} {shape}", f"{one} {other_shape}")
    sizes = (mention.size for mention in stated.objects)
    return PromptContent(tuple(map(PromptObject, names, sizes)), stated.relation)


def test_objects_by_hand() -> None:
    stated = [says("red cube"), says("red cube", "blue sphere")]
    detected = sees({"red cube": 0.9, "blue cube": 0.6}, {"red cube": 0.3, "red sphere": 0.8})
    detected.present[1, number_of("blue sphere")] = 0.2
    found = of_images(detected, stated)
    assert found["object_accuracy"] == 2 / 3
    assert found["false_objects"] == 1
    assert object_chance(stated) == pytest.approx((1 + 2 * 2) / 24 / 3)
    assert object_chance([says("red cube")] * 5) == pytest.approx(1 / 24)


def test_binding_by_hand() -> None:
    stated = says("red cube", "blue sphere")
    right = {"red cube": 0.9, "blue sphere": 0.8}
    wrong = {"blue cube": 0.7, "red sphere": 0.99}
    assert binding_accuracy(sees(right), [stated]) == 1
    assert binding_accuracy(sees(wrong), [stated]) == 0
    assert binding_accuracy(sees(right, wrong, right), [stated] * 3) == pytest.approx(2 / 3)
    # Half of it is there: still this pairing, unless there is more of the other.
    assert binding_accuracy(sees({"red cube": 0.6}), [stated]) == 1
    assert binding_accuracy(sees({"red cube": 0.6} | wrong), [stated]) == 0
    # Neither: only what is left of the scores speaks; nothing at all, or all, is a half.
    assert binding_accuracy(sees({"gray cube": 1.0}), [stated]) == 0.5
    assert binding_accuracy(sees({"gray cube": 1.0, "red cube": 0.011}), [stated]) == 1
    certain = dict.fromkeys([*right, *wrong], 1.0)
    assert binding_accuracy(sees(certain), [stated]) == 0.5


def test_binding_counts_two_objects_of_two_colours_and_two_shapes() -> None:
    others = [
        says("red cube"),
        says("red cube", "red sphere"),
        says("red cube", "blue cube"),
        says("red cube", "blue sphere", "gray cylinder"),
    ]
    assert binding_accuracy(anything(4), others) is None
    stated = [*others, says("red cube", "blue sphere")]
    detected = anything(5)
    last = Detections(*(part[4:] for part in detected))
    assert binding_accuracy(detected, stated) == binding_accuracy(last, stated[4:])


@given(st.lists(st.floats(-12, 12), min_size=4, max_size=4, unique=True), scenes())
def test_binding_is_the_greater_sum_of_logits(logits: list[float], scene) -> None:
    stated = scene[1]
    if binding_accuracy(anything(1), [stated]) is None:
        return
    detected = anything(1)
    other = swapped(stated)
    ids = [number_of(mention.name) for one in (stated, other) for mention in one.objects]
    scores = torch.sigmoid(torch.tensor(logits, dtype=torch.float64))
    detected = detected._replace(present=detected.present.double())
    detected.present[0, ids] = scores
    difference = logits[0] + logits[1] - logits[2] - logits[3]
    if abs(difference) > 1e-6:
        assert binding_accuracy(detected, [stated]) == (difference > 0)
        assert binding_accuracy(detected, [other]) == (difference < 0)


@pytest.mark.parametrize(
    ("kind", "opposite", "first", "second"),
    [
        ("left of", "right of", (0.2, 0.5), (0.3, 0.9)),
        ("behind", "in front of", (0.9, 0.2), (0.3, 0.3)),
    ],
)
def test_relations_by_hand(kind, opposite, first, second) -> None:
    detected = sees({"red cube": 0.9, "blue sphere": 0.8}, {"red cube": 0.9})
    for name, place in (("red cube", first), ("blue sphere", second)):
        detected.place[:, number_of(name)] = torch.tensor(place)
    detected.present[1, number_of("gray cube")] = 0.5

    def both(relation: Relation) -> list[PromptContent]:
        return [says("red cube", "blue sphere", relation=relation)] * 2

    for relation in (Relation(kind, 0, 1), Relation(opposite, 1, 0)):
        # The second image has only one of them.
        assert relations(detected, both(relation))["relation_accuracy"] == 0.5
        assert relations(detected, both(relation))["relation_accuracy_found"] == 1
        assert relations(detected, both(relation))["relation_accuracy_chance"] == 0.25
    for relation in (Relation(opposite, 0, 1), Relation(kind, 1, 0)):
        assert relations(detected, both(relation))["relation_accuracy"] == 0
        assert relations(detected, both(relation))["relation_accuracy_found"] == 0
        assert relations(detected, both(relation))["relation_accuracy_chance"] == 0.25
    # One that says nothing of how they stand does not count.
    mixed = [both(Relation(kind, 0, 1))[0], says("red cube")]
    assert relations(detected, mixed)["relation_accuracy"] == 1


def test_sizes_by_hand() -> None:
    stated = [says("small red cube", "blue sphere"), says("large red cube", "small gray cube")]
    detected = sees({"red cube": 0.9, "blue sphere": 0.9}, {"red cube": 0.9, "cyan cube": 0.9})
    detected.large[0, number_of("red cube")] = 0.3  # right
    detected.large[0, number_of("blue sphere")] = 0.9  # not spoken of
    detected.large[1, number_of("red cube")] = 0.2  # wrong
    # The gray cube of the second image is not found, so its size does not count.
    assert size_accuracy(detected, stated) == 0.5
    assert size_accuracy(detected, [says("red cube"), says("red cube")]) is None


@given(st.lists(scenes(), min_size=1, max_size=6))
def test_images_that_show_what_was_said(rows) -> None:
    stated = [one for _, one in rows]
    values = of_images(of_scenes([items for items, _ in rows]), stated)
    assert values.pop("false_objects") == 0
    assert values.pop("object_accuracy_chance") == object_chance(stated)
    assert values.pop("relation_accuracy_chance", 0.5) == 0.5
    assert {"object_accuracy", "size_accuracy"} <= values.keys()
    assert set(values.values()) == {1}


@given(st.lists(scenes(), min_size=1, max_size=6))
def test_images_with_their_opposite(rows) -> None:
    """Colours exchanged, seen from behind in a mirror, the large ones small."""
    rows = [(items, one) for items, one in rows if binding_accuracy(anything(1), [one]) is not None]
    if not rows:
        return
    stated = [one for _, one in rows]
    exchanged = of_scenes([items for items, _ in rows])
    other = sees(*({m.name: 0.9 for m in swapped(one).objects} for one in stated))
    found = of_images(exchanged._replace(present=other.present), stated)
    assert found["object_accuracy"] == found["binding_accuracy"] == 0
    assert found["relation_accuracy"] == found["relation_accuracy_chance"] == 0
    assert found["false_objects"] == 2
    assert not {"relation_accuracy_found", "size_accuracy"} & found.keys()
    turned = exchanged._replace(place=1 - exchanged.place, large=1 - exchanged.large)
    found = of_images(turned, stated)
    assert found["relation_accuracy"] == found["relation_accuracy_found"] == 0
    assert found["size_accuracy"] == 0


def test_a_judge_that_sees_nothing_gets_what_chance_gives() -> None:
    pair = says("small red cube", "blue sphere", relation=Relation("left of", 0, 1))
    stated = [pair, says("large gray cylinder")] * 1500
    found = of_images(anything(3000), stated)
    assert found["object_accuracy"] == pytest.approx(found["object_accuracy_chance"], abs=0.02)
    assert found["binding_accuracy"] == pytest.approx(0.5, abs=0.05)
    assert found["relation_accuracy"] == pytest.approx(found["relation_accuracy_chance"], abs=0.01)
    assert found["size_accuracy"] == pytest.approx(0.5, abs=0.2)
    # All objects found, but standing anyhow.
    sure = sees({"red cube": 1, "blue sphere": 1}, {"gray cylinder": 1})
    placed = anything(3000)._replace(present=sure.present.repeat(1500, 1))
    found = of_images(placed, stated)
    assert found["relation_accuracy_chance"] == 0.5
    assert found["relation_accuracy"] == pytest.approx(0.5, abs=0.05)
    assert found["size_accuracy"] == pytest.approx(0.5, abs=0.05)


def test_means_over_seeds() -> None:
    stated = [says("red cube", "blue sphere"), says("small red cube")]
    seeds = [anything(2, seed) for seed in range(3)]
    each = [of_images(detected, stated) for detected in seeds]
    found = metrics(seeds, stated)
    assert "relation_accuracy" not in found  # no sentence speaks of one
    for name in ("object_accuracy", "binding_accuracy", "false_objects"):
        values = [one[name] for one in each]
        assert found[name] == pytest.approx(sum(values) / 3)
        if name != "false_objects":
            assert found[f"{name}_sd"] == pytest.approx(stdev(values))
    assert "object_accuracy_chance_sd" not in found
    alone = metrics(seeds[:1], stated)
    assert alone == pytest.approx(each[0])


def test_errors_are_how_far_other_images_are_off() -> None:
    """Of what is said at random, over draws of 60 images in two seeds."""
    stated = [says("small red cube", "blue sphere"), says("large gray cylinder")] * 15
    draws = [metrics([anything(30, 2 * i), anything(30, 2 * i + 1)], stated) for i in range(40)]
    for name in ("object_accuracy", "binding_accuracy", "false_objects"):
        spread = stdev(one[name] for one in draws)
        errors = [one[f"{name}_se"] for one in draws]
        assert sum(errors) / 40 == pytest.approx(spread, rel=0.4), name
    assert "object_accuracy_chance_se" not in draws[0]
    assert "relation_accuracy_se" not in draws[0]
