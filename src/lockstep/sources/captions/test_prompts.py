"""What `test.json` of the rendered captions asks for: 64 prompts, 24 of them of new combinations.

| id | prompts | states |
| --- | --- | --- |
| `single_00` ... | 16 | one object; its size in half of them |
| `pair_00` ... | 12 | two objects; both sizes in half of them |
| `new_pair_00` ... | 12 | the same, of two objects that no image has together |
| `relation_00` ... | 12 | 4 relations of two objects, 3 times each; both sizes in a third |
| `new_relation_00` ... | 12 | the same, of two objects that no image has together |

Single objects and the pairs that are not new do occur, though perhaps not in those sizes and not
standing so. No pair is asked for twice, nor is a single object.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import combinations

import numpy as np

from lockstep.core.errors import LockstepError
from lockstep.data.annotations import SIDES, PromptContent, PromptObject, Relation, Size
from lockstep.data.clevr import COLOURS, SHAPES

_SINGLES, _PAIRS, _OF_EACH_RELATION = 16, 12, 3
_RELATIONS = _OF_EACH_RELATION * len(SIDES)
_NAMES = tuple(f"{colour} {shape}" for shape in SHAPES for colour in COLOURS)


def held_out(rng: np.random.Generator) -> list[tuple[str, ...]]:
    """The pairs of names that no image may have together, in random order."""
    pairs = list(combinations(_NAMES, 2))
    return [pairs[i] for i in rng.permutation(len(pairs))[: _PAIRS + _RELATIONS]]


def choose_prompts(
    shown: Sequence[Sequence[str]], held_out: Sequence[tuple[str, ...]], rng: np.random.Generator
) -> dict[str, PromptContent]:
    """What the prompts state, by id, given the one or two names in each image.

    Raises `LockstepError` if too few objects or pairs occur in the images.
    """
    alone = _some_of({(name,) for names in shown for name in names}, _SINGLES, rng)
    together = _some_of(
        {(min(names), max(names)) for names in shown if len(names) == 2}, _PAIRS + _RELATIONS, rng
    )
    groups = {
        "single": _plain(alone, rng),
        "pair": _plain(together[:_PAIRS], rng),
        "new_pair": _plain(held_out[:_PAIRS], rng),
        "relation": _related(together[_PAIRS:], rng),
        "new_relation": _related(held_out[_PAIRS:], rng),
    }
    return {
        f"{group}_{number:02d}": stated
        for group, rows in groups.items()
        for number, stated in enumerate(rows)
    }


def _some_of(
    found: Collection[tuple[str, ...]], count: int, rng: np.random.Generator
) -> list[tuple[str, ...]]:
    if len(found) < count:
        raise LockstepError(
            f"source.count: the images show {len(found)} of the {count} different combinations "
            "that test.json asks for; raise it"
        )
    ordered = sorted(found)
    return [ordered[i] for i in rng.permutation(len(ordered))[:count]]


def _plain(rows: Sequence[tuple[str, ...]], rng: np.random.Generator) -> list[PromptContent]:
    """Nothing but objects, the sizes of every second row."""
    return [
        PromptContent(_objects(names, with_sizes=number % 2 == 1, rng=rng), None)
        for number, names in enumerate(rows)
    ]


def _related(rows: Sequence[tuple[str, ...]], rng: np.random.Generator) -> list[PromptContent]:
    """Each relation in turn, the sizes of every third row of each."""
    return [
        PromptContent(
            _objects(names, with_sizes=number // len(SIDES) == _OF_EACH_RELATION - 1, rng=rng),
            Relation(SIDES[number % len(SIDES)], *rng.permutation(2).tolist()),
        )
        for number, names in enumerate(rows)
    ]


def _objects(
    names: Sequence[str], *, with_sizes: bool, rng: np.random.Generator
) -> tuple[PromptObject, ...]:
    sizes: tuple[Size, ...] = ("large", "small")
    return tuple(
        PromptObject(name, sizes[int(rng.integers(2))] if with_sizes else None) for name in names
    )
