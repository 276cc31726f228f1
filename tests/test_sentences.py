"""Sentences are good English and true of their scenes; annotations.json keeps what they state."""

from __future__ import annotations

import json
import re
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockstep.core.errors import LockstepError
from lockstep.data.annotations import (
    SIDES,
    Annotations,
    ImageObject,
    PromptContent,
    PromptObject,
    Relation,
    as_arrays,
    lead,
    read_annotations,
    write_annotations,
)
from lockstep.data.clevr import COLOURS, SHAPES, object_id
from lockstep.synthetic.scenes import Scene, places, sample_scene
from lockstep.synthetic.sentences import (
    CLEAR,
    describe,
    in_words,
    objects_of,
    plain_relations,
    what_to_say,
)

NOUN = rf"a (?:(large|small) )?((?:{'|'.join(COLOURS)}) (?:{'|'.join(SHAPES)}))"
SIDE = r"(?:to the )?(left of|right of|in front of|behind)"
# Every form that a sentence may have, and which of its two nouns is spoken of.
ALONE = [f"{NOUN}", f"there is {NOUN}", f"an image of {NOUN}", f"{NOUN} and nothing else"]
ALONE += [f"one object: {NOUN}"]
PAIR = [f"(?:|both |two objects: |an image of ){NOUN} and {NOUN}", f"{NOUN} together with {NOUN}"]
FORWARDS = f"(?:|there is |two objects: ){NOUN} (?:stands )?{SIDE} {NOUN}"
BACKWARDS = [f"{SIDE} {NOUN} there is {NOUN}", f"{NOUN}, and {SIDE} it {NOUN}"]


def parsed(text: str) -> tuple[set[tuple[str | None, str]], tuple[str, str, str] | None]:
    """What a reader takes from a sentence: (size, name) pairs; kind, first name, second name."""
    mentions = re.findall(NOUN, text)
    objects = {(size or None, name) for size, name in mentions}
    names = [name for _, name in mentions]
    if any(re.fullmatch(form, text) for form in ALONE):
        assert len(names) == 1
        return objects, None
    assert len(names) == 2, text
    if any(re.fullmatch(form, text) for form in PAIR):
        return objects, None
    kind = re.findall(SIDE, text)
    assert len(kind) == 1, text
    if re.fullmatch(FORWARDS, text):
        return objects, (kind[0], names[0], names[1])
    assert any(re.fullmatch(form, text) for form in BACKWARDS), text
    return objects, (kind[0], names[1], names[0])


def holds(kind: str, first: ImageObject, second: ImageObject) -> bool:
    return {
        "left of": first.x < second.x - 0.1,
        "right of": first.x > second.x + 0.1,
        "in front of": first.y > second.y + 0.1,
        "behind": first.y < second.y - 0.1,
    }[kind]


def scene_of(seed: int, count: int, distance: float = 1.0) -> Scene:
    return sample_scene(seed, 0, count=count, sizes=("large", "small"), distance=distance)


@given(st.integers(0, 2**32), st.integers(1, 2), st.sampled_from([0.8, 1.0]))
@settings(max_examples=300, deadline=None)
def test_a_sentence_is_true_of_its_scene(seed: int, count: int, distance: float) -> None:
    scene = scene_of(seed, count, distance)
    sentence = describe(scene, np.random.default_rng(seed))
    objects, relation = parsed(sentence.text)
    shown = {one.name: one for one in objects_of(scene)}
    # What is read is what it is said to state ...
    assert objects == {(mention.size, mention.name) for mention in sentence.stated.objects}
    stated = sentence.stated.relation
    names = [mention.name for mention in sentence.stated.objects]
    expected = stated and (stated.kind, names[stated.first], names[stated.second])
    assert relation == expected
    # ... and all of that is so.
    assert {name for _, name in objects} == set(shown)
    assert all(size in (None, shown[name].size) for size, name in objects)
    if relation is not None:
        kind, first, second = relation
        assert holds(kind, shown[first], shown[second])
        depths = {
            item.name: place.depth for item, place in zip(scene.items, places(scene), strict=True)
        }
        if kind in ("in front of", "behind"):
            assert (depths[first] < depths[second]) == (kind == "in front of")


def test_everything_that_can_be_said_is_said_sometimes() -> None:
    sentences = []
    for seed in range(400):
        rng = np.random.default_rng(seed)
        sentences.append(describe(scene_of(seed, 1 + (seed % 4 > 0)), rng))
    kinds = [s.stated.relation.kind for s in sentences if s.stated.relation is not None]
    for kind in SIDES:
        assert kinds.count(kind) > 15
    mentions = [mention for s in sentences for mention in s.stated.objects]
    for size in ("large", "small", None):
        assert sum(mention.size == size for mention in mentions) > 60
    assert len(mentions) == 700
    openings = {re.sub(NOUN, "X", s.text) for s in sentences}
    assert len(openings) > 30
    of_pairs = [s.stated.relation for s in sentences if len(s.stated.objects) == 2]
    assert 0.3 < sum(relation is None for relation in of_pairs) / len(of_pairs) < 0.6


def test_the_words_depend_on_the_generator_alone() -> None:
    scene = scene_of(5, 2)
    said = [describe(scene, np.random.default_rng(3)) for _ in range(2)]
    assert said[0] == said[1]
    rng = np.random.default_rng(0)
    assert len({describe(scene, rng).text for _ in range(40)}) > 15


@given(st.integers(0, 2**32))
@settings(max_examples=200, deadline=None)
def test_relations_are_said_only_where_they_are_plain(seed: int) -> None:
    scene = scene_of(seed, 2)
    at = places(scene)
    plain = plain_relations(scene)
    for first, second in permutations(range(2), 2):
        across, down = at[second].u - at[first].u, at[second].v - at[first].v
        assert (Relation("left of", first, second) in plain) == (across >= CLEAR["left of"])
        assert (Relation("right of", second, first) in plain) == (across >= CLEAR["right of"])
        if abs(down) < CLEAR["behind"]:
            assert Relation("behind", first, second) not in plain
            assert Relation("in front of", first, second) not in plain
    if not plain:
        assert what_to_say(scene, np.random.default_rng(seed)).relation is None


def test_words_for_a_statement() -> None:
    both = (PromptObject("red cube", "small"), PromptObject("blue sphere", None))
    stated = PromptContent(both, Relation("behind", 1, 0))
    said = {in_words(stated, np.random.default_rng(seed)) for seed in range(60)}
    assert "a blue sphere behind a small red cube" in said
    assert "a small red cube, and behind it a blue sphere" in said
    for text in said:
        objects, relation = parsed(text)
        assert objects == {("small", "red cube"), (None, "blue sphere")}
        assert relation == ("behind", "blue sphere", "red cube")
    with pytest.raises(ValueError, match="3 objects; give one or two"):
        in_words(
            PromptContent((*both, PromptObject("gray cube", None)), None), np.random.default_rng(0)
        )


# --- annotations.json ---

ROWS = {
    "a.png": [
        {"name": "red cube", "size": "small", "x": 0.25, "y": 0.5},
        {"name": "yellow cylinder", "size": "large", "x": 0.75, "y": 0.625},
    ],
    "b.png": [{"name": "gray cube", "size": "large", "x": 0.5, "y": 0.5}],
}
ASKED = {
    "one": {
        "objects": [{"name": "red cube", "size": None}, {"name": "cyan cube", "size": "large"}],
        "relation": {"kind": "left of", "first": 1, "second": 0},
    },
    "two": {"objects": [{"name": "red cube", "size": None}], "relation": None},
}


def written(folder: Path, document: object) -> Path:
    (folder / "annotations.json").write_text(json.dumps(document))
    return folder


def test_truth_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert read_annotations(tmp_path) is None
    found = read_annotations(written(tmp_path, {"train": ROWS, "test": ASKED}))
    assert isinstance(found, Annotations)
    assert found.train["a.png"][0] == ImageObject("red cube", "small", 0.25, 0.5)
    assert found.test["one"].relation == Relation("left of", 1, 0)
    write_annotations(tmp_path, found)
    assert json.loads((tmp_path / "annotations.json").read_text()) == {"train": ROWS, "test": ASKED}


def test_truth_as_arrays(tmp_path: Path) -> None:
    found = read_annotations(written(tmp_path, {"train": ROWS, "test": {}}))
    assert found is not None
    present, place, large = as_arrays([found.train["b.png"], (), found.train["a.png"]])
    red, yellow = object_id("cube", "red"), object_id("cylinder", "yellow")
    assert [np.flatnonzero(row).tolist() for row in present] == [[0], [], [red, yellow]]
    assert [np.flatnonzero(row).tolist() for row in large] == [[0], [], [yellow]]
    assert place[2, red].tolist() == [0.25, 0.5]
    assert place[2, yellow].tolist() == [0.75, 0.625]
    assert not place[present == 0].any()
    assert (present.dtype, place.dtype, large.dtype) == (np.uint8, np.float32, np.uint8)


def test_the_lead_is_positive_on_the_side_that_is_named() -> None:
    left, low = (0.2, 0.4), (0.5, 0.8)
    assert lead("left of", left, low) == pytest.approx(0.3)
    assert lead("right of", left, low) == pytest.approx(-0.3)
    assert lead("in front of", low, left) == pytest.approx(0.4)
    assert lead("behind", low, left) == pytest.approx(-0.4)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], "annotations.json: Input should be an object"),
        ({"train": {}}, "annotations.json: test: Field required"),
        ({"train": {"a": [{**ROWS["b.png"][0], "name": "red cow"}]}, "test": {}}, "a: 0: name"),
        ({"train": {"a": [{**ROWS["b.png"][0], "x": 1.5}]}, "test": {}}, "train: a: 0: x: Input"),
        ({"train": {"a": [{**ROWS["b.png"][0], "z": 1}]}, "test": {}}, "train: a: 0: z: Unexp"),
        ({"train": {"a": ROWS["b.png"] * 2}, "test": {}}, "train: a: names an object twice"),
        (
            {"train": {}, "test": {"7": {**ASKED["two"], "relation": ASKED["one"]["relation"]}}},
            "test: 7: relation: first and second must be places in objects",
        ),
        (
            {
                "train": {},
                "test": {
                    "7": {**ASKED["one"], "relation": {"kind": "behind", "first": 1, "second": 1}}
                },
            },
            "test: 7: relation: an object cannot relate to itself",
        ),
    ],
)
def test_a_wrong_truth_is_named(tmp_path: Path, document: object, message: str) -> None:
    with pytest.raises(LockstepError) as caught:
        read_annotations(written(tmp_path, document))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
