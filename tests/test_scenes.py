"""Scenes obey their rules, and their images are a function of the scene alone."""

from __future__ import annotations

import colorsys
import math
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockstep.data.clevr import COLOURS, SHAPES, object_id
from lockstep.synthetic import raycaster
from lockstep.synthetic.raycaster import _FLOOR, draw
from lockstep.synthetic.scenes import (
    FIELD,
    MARGIN,
    SIZES,
    TARGET,
    Item,
    Scene,
    boxes,
    places,
    sample_scene,
)

SCENES = [sample_scene(3, index) for index in range(40)]
MIXED = [sample_scene(4, index, count=4, sizes=("large", "small")) for index in range(20)]
NOMINAL = {
    "gray": (87, 87, 87),
    "red": (173, 35, 35),
    "blue": (42, 75, 215),
    "green": (29, 105, 20),
    "brown": (129, 74, 25),
    "purple": (129, 38, 192),
    "cyan": (41, 208, 208),
    "yellow": (255, 238, 51),
}
EVERY_OBJECT = [(shape, colour) for shape in SHAPES for colour in COLOURS]


def owners(scene: Scene, size: int = 64) -> np.ndarray:
    """Which item the ray through the centre of each pixel meets first; (size, size)."""
    windows = raycaster._windows(scene, size)
    return raycaster._first_hits(scene, raycaster._rays(scene, size), windows)[0]


def names(scene: Scene) -> tuple[str, ...]:
    return tuple(item.name for item in scene.items)


def alone(scene: Scene, k: int) -> Scene:
    return replace(scene, items=(scene.items[k],))


def with_first(scene: Scene, shape: str) -> Scene:
    """The scene with only its first item, of another shape."""
    return replace(scene, items=(replace(scene.items[0], shape=shape),))


# --- sampling ------------------------------------------------------------------------------


def test_a_scene_depends_on_its_seed_and_index_alone() -> None:
    backwards = [sample_scene(3, index) for index in reversed(range(40))][::-1]
    assert backwards == SCENES
    assert len(set(SCENES)) == len(SCENES)
    assert sample_scene(4, 0) != SCENES[0]


def test_items_are_distinct_and_use_every_shape_and_colour() -> None:
    for scene in SCENES:
        assert len(set(names(scene))) == len(scene.items) == 3
    assert {item.shape for scene in SCENES for item in scene.items} == set(SHAPES)
    assert {item.colour for scene in SCENES for item in scene.items} == set(COLOURS)


def test_object_ids_count_colours_within_shapes() -> None:
    assert [object_id(shape, colour) for shape, colour in EVERY_OBJECT] == list(range(24))


def test_given_objects_are_placed_in_order() -> None:
    objects = [("sphere", "cyan"), ("cube", "gray"), ("cylinder", "red")]
    scene = sample_scene(0, 0, objects)
    assert names(scene) == ("cyan sphere", "gray cube", "red cylinder")


@pytest.mark.parametrize("scenes", [SCENES, MIXED])
def test_items_do_not_touch(scenes: list[Scene]) -> None:
    def reach(item: Item) -> float:
        corner = math.sqrt(2) if item.shape == "cube" else 1.0
        return item.radius * corner

    for scene in scenes:
        for i, item in enumerate(scene.items):
            for other in scene.items[:i]:
                distance = math.hypot(item.x - other.x, item.y - other.y)
                assert distance > reach(item) + reach(other)


def test_sizes_are_drawn_from_those_given() -> None:
    assert {item.size for scene in SCENES for item in scene.items} == {"large"}
    assert {item.size for scene in MIXED for item in scene.items} == set(SIZES)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(1, 4))
def test_any_seed_gives_a_scene_inside_the_frame(seed: int, index: int, count: int) -> None:
    scene = sample_scene(seed, index, count=count)
    assert len(scene.items) == count
    for box in boxes(scene):
        assert 0 < box.left < box.right < 1
        assert 0 < box.top < box.bottom < 1


def test_the_distance_of_one_is_that_of_the_scenes_before_there_was_any() -> None:
    scene = sample_scene(3, 0, distance=1.0)
    assert scene == SCENES[0]
    assert scene.camera.eye == (-0.33148066628510053, -9.810551594723119, 5.841019572165117)
    assert [(item.name, item.x, item.y) for item in scene.items] == [
        ("cyan cube", 0.39927342861544757, 1.2794591662945294),
        ("green sphere", -1.3534347781465135, 1.9352265226315781),
        ("purple sphere", 0.9574659451613119, -1.7606141273028209),
    ]


def test_from_nearer_the_same_objects_are_larger() -> None:
    objects, distances = [("cube", "red"), ("sphere", "blue")], (2.0, 1.0, 0.8, 0.7)
    views = [
        [sample_scene(7, index, objects, distance=d) for index in range(30)] for d in distances
    ]
    widths = [
        np.mean([box.right - box.left for scene in scenes for box in boxes(scene)])
        for scenes in views
    ]
    assert widths == sorted(widths)
    assert widths[2] == pytest.approx(widths[1] / 0.8, rel=0.1)
    for distance, scenes in zip(distances, views, strict=True):
        for scene, before in zip(scenes, views[1], strict=True):
            # On the same line of sight.
            eye, middle = np.array(before.camera.eye), np.array(TARGET)
            assert scene.camera.eye == pytest.approx(middle + distance * (eye - middle))
            assert scene.light == before.light
            for box in boxes(scene):
                assert min(box.left, box.top) >= MARGIN
                assert max(box.right, box.bottom) <= 1 - MARGIN


def test_a_set_is_forbidden_whatever_its_order() -> None:
    objects = [("sphere", "cyan"), ("cube", "gray"), ("cylinder", "red")]
    forbidden = {frozenset({"gray cube", "cyan sphere"})}
    for order in (objects, [objects[1], objects[0], objects[2]]):
        with pytest.raises(ValueError, match="forbidden prefix"):
            sample_scene(0, 0, order, forbidden=forbidden)
    assert sample_scene(0, 0, objects[::-1], forbidden=forbidden).items[0].name == "red cylinder"


def test_no_prefix_is_forbidden() -> None:
    pairs = {frozenset(names(scene)[:2]) for scene in SCENES}
    whole = {frozenset(names(scene)) for scene in SCENES}
    for forbidden in (pairs, whole):
        for index, before in enumerate(SCENES):
            scene = sample_scene(3, index, forbidden=forbidden)
            assert all(frozenset(names(scene)[:k]) not in forbidden for k in (1, 2, 3))
            assert names(scene) != names(before)


def test_impossible_wishes_are_refused_clearly() -> None:
    every_single = {frozenset({f"{colour} {shape}"}) for shape, colour in EVERY_OBJECT}
    with pytest.raises(ValueError, match="forbid fewer"):
        sample_scene(0, 0, forbidden=every_single)
    with pytest.raises(ValueError, match="forbidden prefix"):
        sample_scene(
            0, 0, [("cube", "red"), ("sphere", "blue")], forbidden={frozenset({"red cube"})}
        )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seed": -1}, "seed -1"),
        ({"index": -2}, "index -2"),
        ({"count": 0}, "0 items"),
        ({"count": 99}, "99 items"),
        ({"objects": []}, "0 items"),
        ({"objects": [("cube", "pink")]}, "'pink'"),
        ({"objects": [("cone", "red")]}, "'cone'"),
        ({"objects": [("cube", "red"), ("cube", "red")]}, "distinct"),
        ({"sizes": ()}, "sizes is empty"),
        ({"sizes": ("huge",)}, "'huge'"),
        ({"distance": 0.49}, "distance 0.49; give 0.5 to 2"),
        ({"distance": 2.01}, "distance 2.01; give 0.5 to 2"),
        ({"distance": math.nan}, "distance nan; give 0.5 to 2"),
    ],
)
def test_bad_sampling_arguments(arguments: dict[str, object], message: str) -> None:
    wish = {"seed": 0, "index": 0, **arguments}
    with pytest.raises(ValueError, match=message) as caught:
        sample_scene(**wish)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_bad_items_prefixes_and_image_sizes() -> None:
    with pytest.raises(ValueError, match="'huge'"):
        Item("cube", "red", "huge", 0.0, 0.0, 0.0)
    with pytest.raises(ValueError, match="scale 0"):
        Item("cube", "red", "large", 0.0, 0.0, 0.0, scale=0)
    for light in ((1.0, 0.0, 0.0), (0.0, 0.0, 1.0)):
        with pytest.raises(ValueError, match="light"):
            replace(SCENES[0], light=light)
    for k in (-1, 4):
        with pytest.raises(ValueError, match=f"prefix {k}"):
            SCENES[0].prefix(k)
    with pytest.raises(ValueError, match="size 0"):
        draw(SCENES[:1], size=0)
    with pytest.raises(ValueError, match="supersample 0"):
        draw(SCENES[:1], supersample=0)


# --- drawing -------------------------------------------------------------------------------


def test_bytes_do_not_depend_on_batch_or_processes() -> None:
    whole = draw(SCENES)
    assert whole.shape == (40, 64, 64, 3)
    assert whole.dtype == np.uint8
    one_by_one = np.concatenate([draw([scene]) for scene in SCENES])
    backwards = draw(SCENES[::-1])[::-1]
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        halves = np.concatenate(list(pool.map(draw, [SCENES[:13], SCENES[13:]])))
    for other in (one_by_one, backwards, halves):
        assert other.tobytes() == whole.tobytes()


def test_no_scenes_make_no_images() -> None:
    assert draw([]).shape == (0, 64, 64, 3)


@pytest.mark.parametrize("supersample", [1, 3])
def test_supersampling_keeps_the_image(supersample: int) -> None:
    usual = draw(SCENES[:4]).astype(int)
    other = draw(SCENES[:4], supersample=supersample).astype(int)
    assert 0 < np.abs(usual - other).mean() < 4


def test_a_prefix_changes_the_image_only_around_the_new_item() -> None:
    far_pixels = 0
    for scene in SCENES[:15]:
        images = draw([scene.prefix(k) for k in range(4)]).astype(int)
        for k, (item, place) in enumerate(zip(scene.items, places(scene), strict=True)):
            changed = np.abs(images[k + 1] - images[k]).max(axis=2) > 0
            new = owners(scene.prefix(k + 1)) == k
            # Floor within some five radii may darken; nothing farther may change at all.
            rows, columns = (np.indices((64, 64)) + 0.5) / 64
            reach = 5 * item.half / (place.depth * 2 * FIELD)
            far = np.hypot(columns - place.u, rows - place.v) > reach
            far_pixels += far.sum()
            assert not (changed & far).any()
            assert changed[new].mean() > 0.95
    assert far_pixels > 64 * 64, "the radius covers nearly every image: this tests nothing"


@pytest.mark.parametrize("scenes", [SCENES, MIXED])
def test_items_are_inside_the_frame_and_mostly_visible(scenes: list[Scene]) -> None:
    for scene in scenes:
        owner = owners(scene, 128)
        border = np.concatenate([owner[0], owner[-1], owner[:, 0], owner[:, -1]])
        assert (border == _FLOOR).all()
        for k in range(len(scene.items)):
            own = owners(alone(scene, k), 128) == 0
            assert (owner == k).sum() >= 0.6 * own.sum()


def test_large_items_are_generously_sized() -> None:
    widths = [(box.right - box.left) * 64 for scene in SCENES for box in boxes(scene)]
    assert min(widths) >= 11
    assert 14 <= float(np.median(widths)) <= 22


def test_boxes_hold_their_items_closely() -> None:
    for scene in SCENES[:10] + MIXED[:10]:
        everywhere = [(slice(0, 96), slice(0, 96))]
        for k, box in enumerate(boxes(scene)):
            lonely = alone(scene, k)
            owner, _ = raycaster._first_hits(lonely, raycaster._rays(lonely, 96), everywhere)
            rows, columns = np.nonzero(owner == 0)
            assert box.left * 96 - 0.5 <= columns.min() <= box.left * 96 + 1.5
            assert box.right * 96 - 2.5 <= columns.max() <= box.right * 96 - 0.5
            assert box.top * 96 - 0.5 <= rows.min() <= box.top * 96 + 1.5
            assert box.bottom * 96 - 2.5 <= rows.max() <= box.bottom * 96 - 0.5


def test_places_are_where_the_items_are_drawn() -> None:
    for scene in SCENES[:15]:
        for k, place in enumerate(places(scene)):
            rows, columns = np.nonzero(owners(alone(scene, k)) == 0)
            assert abs((columns.mean() + 0.5) / 64 - place.u) < 0.015
            assert abs((rows.mean() + 0.5) / 64 - place.v) < 0.03


def test_nearer_items_hide_farther_ones() -> None:
    front = Item("sphere", "red", "large", 0.0, -1.5, 0.0)
    behind = Item("sphere", "blue", "large", 0.0, 1.0, 0.0)
    for items in ((front, behind), (behind, front)):
        scene = replace(SCENES[0], items=items)
        assert places(scene)[items.index(front)].depth < places(scene)[items.index(behind)].depth
        both = (owners(alone(scene, 0)) == 0) & (owners(alone(scene, 1)) == 0)
        assert both.any()
        assert (owners(scene)[both] == items.index(front)).all()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("colour", COLOURS)
def test_colours_stay_near_their_nominal_values(shape: str, colour: str) -> None:
    for index in range(4):
        scene = sample_scene(9, index, [(shape, colour)])
        mean = draw([scene])[0][owners(scene) == 0].mean(axis=0)
        distances = {name: math.dist(mean, rgb) for name, rgb in NOMINAL.items()}
        assert min(distances, key=distances.__getitem__) == colour
        hue, saturation, _ = colorsys.rgb_to_hsv(*mean / 255)
        true_hue, true_saturation, _ = colorsys.rgb_to_hsv(
            *(part / 255 for part in NOMINAL[colour])
        )
        assert abs(saturation - true_saturation) < 0.15
        if colour != "gray":
            assert abs((hue - true_hue + 0.5) % 1 - 0.5) < 0.03


def test_shapes_differ_in_outline_or_shading() -> None:
    for scene in SCENES[:8]:
        images = draw([with_first(scene, shape=shape) for shape in SHAPES]).astype(int)
        area = (owners(scene.prefix(1)) == 0).sum()
        for i in range(3):
            difference = np.abs(images[i] - images[i - 1]).max(axis=2) > 24
            assert difference.sum() > 0.15 * area


def test_items_cast_a_shadow_away_from_the_lamp() -> None:
    for scene in SCENES[:8]:
        lit = replace(scene, light=(-0.8, 0.0, 1.0), items=())
        sphere = Item("sphere", "gray", "large", 0.0, 0.0, 0.0)
        before, after = draw([lit, replace(lit, items=(sphere,))]).astype(int)
        floor = owners(replace(lit, items=(sphere,))) == _FLOOR
        darker = ((before - after).sum(axis=2) * floor)[30:50]
        assert (before >= after)[floor].all()
        assert darker[:, 34:].sum() > 2 * darker[:, :30].sum()
        assert darker.max() > 100


def test_shadows_reach_every_point_they_could(monkeypatch: pytest.MonkeyPatch) -> None:
    pruned = draw(SCENES[:12])
    monkeypatch.setattr(
        raycaster, "_may_be_shaded", lambda points, item, light: np.arange(len(points[0]))
    )
    assert draw(SCENES[:12]).tobytes() == pruned.tobytes()


def test_the_empty_studio_is_gray_soft_and_lighter_than_gray_items() -> None:
    studio = draw([scene.prefix(0) for scene in SCENES[:8]]).astype(int)
    assert (studio.max(axis=3) - studio.min(axis=3)).max() <= 8
    assert np.abs(np.diff(studio, axis=1)).max() <= 4
    assert np.abs(np.diff(studio, axis=2)).max() <= 4
    assert studio.mean() > NOMINAL["gray"][0] + 40
