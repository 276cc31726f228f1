"""Sentences about drawn scenes: what is said is chosen first, then how it is said.

A sentence mentions all objects of its scene. It may leave their sizes out, and how they stand to
each other; it says a relation only where that is plain to see.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations

import numpy as np

from lockstep.data.annotations import (
    SIDES,
    ImageObject,
    PromptContent,
    PromptObject,
    Relation,
    Size,
    lead,
)
from lockstep.synthetic.scenes import Scene, places

CLEAR = {"left of": 0.15, "right of": 0.15, "in front of": 0.12, "behind": 0.12}
"""How far apart two centres must be, as a fraction of the image's side, to say so."""

_SIZE_SAID = 0.4
_RELATION_SAID = 0.65
_DIGITS = 4

_WORDS = {
    "left of": ("to the left of", "left of"),
    "right of": ("to the right of", "right of"),
    "in front of": ("in front of",),
    "behind": ("behind",),
}
# {a} is an object, such as "a small red cube"; of a relation the one that is spoken of.
_ALONE = (
    "{a}",
    "{a}",
    "there is {a}",
    "an image of {a}",
    "{a} and nothing else",
    "one object: {a}",
)
_PAIR = (
    "{a} and {b}",
    "{a} and {b}",
    "{a} together with {b}",
    "both {a} and {b}",
    "two objects: {a} and {b}",
    "an image of {a} and {b}",
)
_RELATED = (
    "{a} {side} {b}",
    "{a} {side} {b}",
    "there is {a} {side} {b}",
    "{a} stands {side} {b}",
    "{side} {b} there is {a}",
    "{b}, and {side} it {a}",
    "two objects: {a} {side} {b}",
)


@dataclass(frozen=True)
class Sentence:
    """A sentence, and what it states."""

    text: str
    stated: PromptContent


def describe(scene: Scene, rng: np.random.Generator) -> Sentence:
    """A sentence that is true of `scene`.

    Raises
    ------
    ValueError
        If the scene has neither one nor two objects.
    """
    stated = what_to_say(scene, rng)
    return Sentence(in_words(stated, rng), stated)


def what_to_say(scene: Scene, rng: np.random.Generator) -> PromptContent:
    """All objects of `scene` in any order, some sizes, and perhaps a relation that is plain."""
    order = rng.permutation(len(scene.items)).tolist()
    objects = tuple(
        PromptObject(item.name, _size(item.size) if rng.random() < _SIZE_SAID else None)
        for item in (scene.items[i] for i in order)
    )
    plain = [
        Relation(relation.kind, order.index(relation.first), order.index(relation.second))
        for relation in plain_relations(scene)
    ]
    if not plain or rng.random() >= _RELATION_SAID:
        return PromptContent(objects, None)
    return PromptContent(objects, plain[int(rng.integers(len(plain)))])


def plain_relations(scene: Scene) -> list[Relation]:
    """The relations between items of `scene`, by their numbers, that nobody would dispute.

    The centres are as far apart in the image as `CLEAR` wants; and what is in front is also
    nearer to the camera.
    """
    at = places(scene)
    return [
        Relation(kind, first, second)
        for first, second in permutations(range(len(at)), 2)
        for kind in SIDES
        if lead(kind, at[first][:2], at[second][:2]) >= CLEAR[kind]
        and (kind != "in front of" or at[first].depth < at[second].depth)
        and (kind != "behind" or at[first].depth > at[second].depth)
    ]


def in_words(stated: PromptContent, rng: np.random.Generator) -> str:
    """One of the ways to state it in English.

    Raises
    ------
    ValueError
        If it has neither one nor two objects.
    """
    nouns = [_noun(mention) for mention in stated.objects]
    if len(nouns) > 2:
        raise ValueError(f"a sentence about {len(nouns)} objects; give one or two")
    if len(nouns) == 1:
        return _one_of(_ALONE, rng).format(a=nouns[0])
    relation = stated.relation
    if relation is None:
        return _one_of(_PAIR, rng).format(a=nouns[0], b=nouns[1])
    return _one_of(_RELATED, rng).format(
        a=nouns[relation.first], b=nouns[relation.second], side=_one_of(_WORDS[relation.kind], rng)
    )


def objects_of(scene: Scene) -> tuple[ImageObject, ...]:
    """The items of `scene` with their places in the image, in their order."""
    return tuple(
        ImageObject(item.name, _size(item.size), round(place.u, _DIGITS), round(place.v, _DIGITS))
        for item, place in zip(scene.items, places(scene), strict=True)
    )


def _noun(mention: PromptObject) -> str:
    # "a" is right before every size and colour: none begins with a vowel.
    return f"a {mention.size} {mention.name}" if mention.size else f"a {mention.name}"


def _one_of(choices: tuple[str, ...], rng: np.random.Generator) -> str:
    return choices[int(rng.integers(len(choices)))]


def _size(name: str) -> Size:
    return "large" if name == "large" else "small"
