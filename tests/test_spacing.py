"""The levels a sampler visits, against diffusers and by their properties."""

import itertools

import pytest
from diffusers import DDIMScheduler
from hypothesis import given
from hypothesis import strategies as st

from lockstep.diffusion import timesteps

SPACINGS = ("trailing", "leading", "linspace")


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("T", [1000, 500, 100, 7])
def test_the_lists_are_those_of_diffusers(T: int, spacing: str) -> None:
    scheduler = DDIMScheduler(T, timestep_spacing=spacing)
    accidents = 0
    for steps in range(1, T + 1):
        scheduler.set_timesteps(steps)
        theirs = scheduler.timesteps.tolist()
        if len(theirs) == steps + 1:  # their trailing overruns, to a level that does not exist
            assert spacing == "trailing" and theirs.pop() == -1
            accidents += 1
        assert timesteps(T, steps, spacing) == theirs, steps
    assert accidents <= T // 10


@pytest.mark.parametrize(
    ("spacing", "expected"),
    [("trailing", [11, 7, 3]), ("leading", [8, 4, 0]), ("linspace", [11, 6, 0])],
)
def test_by_hand(spacing: str, expected: list[int]) -> None:
    assert timesteps(12, 3, spacing) == expected


@given(st.integers(1, 3000).flatmap(lambda T: st.tuples(st.just(T), st.integers(1, T))))
def test_levels_decrease_in_range_and_are_as_many_as_asked(T_and_steps: tuple[int, int]) -> None:
    T, steps = T_and_steps
    for spacing in SPACINGS:
        levels = timesteps(T, steps, spacing)
        assert len(levels) == steps
        assert all(a > b for a, b in itertools.pairwise(levels))
        assert levels[-1] >= 0 and levels[0] < T
        assert all(type(t) is int for t in levels)
    assert timesteps(T, steps, "trailing")[0] == T - 1
    assert timesteps(T, steps, "leading")[-1] == 0
    if steps > 1:
        linspace = timesteps(T, steps, "linspace")
        assert (linspace[0], linspace[-1]) == (T - 1, 0)


def test_start_drops_the_levels_above_it() -> None:
    assert timesteps(1000, 5, "trailing", start=599) == [599, 399, 199]
    assert timesteps(1000, 5, "trailing", start=598) == [399, 199]
    assert timesteps(1000, 5, "trailing", start=999) == timesteps(1000, 5)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((10, 11), "steps: 11 is out of range; use 1 to 10, the schedule's levels"),
        ((10, 0), "steps: 0 is out of range; use 1 to 10"),
        ((0, 1), "T: 0 noise levels are too few"),
        ((10, 5, "karras"), "spacing: 'karras' is not known; use one of trailing, leading, lin"),
        ((10, 5, "leading", 10), "start: 10 is not a noise level; use 0 to 9"),
        ((10, 5, "leading", -1), "start: -1 is not a noise level; use 0 to 9"),
        ((10, 2, "trailing", 3), "start: no level of 2 trailing steps is at or below 3; use 4 or"),
    ],
)
def test_refusals(arguments: tuple, sentence: str) -> None:
    with pytest.raises(ValueError) as refused:
        timesteps(*arguments)
    assert sentence in str(refused.value) and "\n" not in str(refused.value)
