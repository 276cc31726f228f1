"""A host that refuses: asked less and less, then no more; one that is back: asked as before."""

from __future__ import annotations

import math

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from lockstep.sources.web.breaker import FEW, HOST_REFUSES, MANY, RESTS, Breaker, Hosts, host_of
from lockstep.sources.web.get import Failed
from lockstep.sources.web.retries import RetryPolicy

POLICY = RetryPolicy(tries=3, backoff=1.0)
SLOW = Failed("too slow", transient=True)


def opened(now: float = 0.0) -> Breaker:
    breaker = Breaker(POLICY)
    for _ in range(FEW):
        assert breaker.admit(now)
        breaker.failed(now, SLOW)
    return breaker


def test_one_that_never_answers_rests_for_longer_and_longer_and_then_refuses() -> None:
    breaker, now, rests = opened(), 0.0, []
    while breaker.refusal is None:
        rests.append(breaker.until - now)
        assert not breaker.admit(breaker.until - 0.1)
        now = breaker.until
        assert breaker.admit(now) and not breaker.admit(now)  # one probe at a time
        breaker.failed(now, SLOW)
    assert tuple(rests) == RESTS and now == sum(RESTS)
    assert breaker.refusal == "too slow" and not breaker.admit(math.inf)


def test_probes_that_take_long_count_as_time_without_an_answer() -> None:
    breaker, now = opened(), 0.0
    while breaker.refusal is None:
        now = breaker.until
        assert breaker.admit(now)
        now += 60.0
        breaker.failed(now, SLOW)
    assert now <= POLICY.longest


@pytest.mark.parametrize("between", [0, 1, MANY - 1, MANY])
def test_earlier_rests_are_forgotten_after_many_answers(between: int) -> None:
    breaker = opened()
    now = breaker.until
    for _ in range(between):
        assert breaker.admit(now)
        breaker.answered()
    for _ in range(FEW if between else 1):
        assert breaker.admit(now)
        breaker.failed(now, SLOW)
    assert breaker.until - now == RESTS[0 if between == MANY else 1]


def test_one_that_lets_a_few_through_now_and_then_is_given_up_too() -> None:
    breaker = opened()
    for _ in RESTS:
        now = breaker.until
        assert breaker.admit(now)
        breaker.answered()
        for _ in range(FEW):
            assert breaker.refusal is None and breaker.admit(now)
            breaker.failed(now, SLOW)
    assert breaker.refusal is not None


def test_what_was_under_way_when_it_opened_is_no_probe() -> None:
    breaker = Breaker(POLICY)
    for _ in range(2 * FEW):
        assert breaker.admit(0.0)
    for _ in range(2 * FEW - 1):
        breaker.failed(0.0, SLOW)
    assert breaker.until == RESTS[0]
    assert not breaker.admit(RESTS[0])  # until the last of them has ended
    breaker.answered()
    assert breaker.admit(RESTS[0]) and not breaker.admit(RESTS[0])


def test_a_broken_address_that_is_tried_again_says_nothing_new() -> None:
    breaker = Breaker(POLICY)
    for number in range(10 * FEW):
        assert breaker.admit(0.0)
        breaker.failed(0.0, SLOW, again=number > 0)


@pytest.mark.parametrize(
    ("after", "pause"), [(None, POLICY.backoff), (0.5, POLICY.backoff), (7.0, 7.0), (300.0, 300.0)]
)
def test_one_429_lets_the_host_alone_for_as_long_as_it_asks(
    after: float | None, pause: float
) -> None:
    breaker = Breaker(POLICY)
    assert breaker.admit(0.0)
    breaker.failed(0.0, Failed("HTTP 429", transient=True, retry_after=after))
    assert not breaker.admit(pause - 0.1)
    assert breaker.admit(pause) and breaker.admit(pause)  # It is not open.


def test_one_that_asks_for_a_very_long_rest_refuses() -> None:
    breaker = Breaker(POLICY)
    assert breaker.admit(0.0)
    breaker.failed(0.0, Failed("HTTP 503", transient=True, retry_after=POLICY.longest + 1))
    assert breaker.refusal == "HTTP 503" and not breaker.admit(math.inf)


def test_a_404_is_an_answer_and_a_request_to_one_that_refuses_is_none() -> None:
    hosts = Hosts(RetryPolicy(3, 0.0), clock=lambda: 0.0)

    def ask(failure: Failed | None) -> None:
        with hosts.request("a.example"):
            if failure is not None:
                raise failure

    for failure in [*[SLOW] * (FEW - 1), Failed("HTTP 404", transient=False)] * 9:
        with pytest.raises(Failed, match=failure.reason):
            ask(failure)
    for _ in range(FEW + len(RESTS)):
        with pytest.raises(Failed, match="too slow"):
            ask(SLOW)
    with pytest.raises(Failed, match=f"^{HOST_REFUSES}$") as caught:
        ask(None)
    assert caught.value.transient and hosts.refusal("a.example") == "too slow"
    assert hosts.admit("b.example")


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("https://I.Imgur.example:8080/x.jpg", "i.imgur.example"),
        ("https://", ""),
        ("x", ""),
        ("http://[::1/x", ""),
    ],
)
def test_hosts_of_addresses(address: str, host: str) -> None:
    assert host_of(address) == host


class Asked(RuleBasedStateMachine):
    """A breaker, asked at any time by anybody, whose requests end in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.breaker = Breaker(POLICY)
        self.now = 0.0
        self.under_way = 0
        self.in_a_row = 0  # failures
        self.probes = 0  # failed ones since the last answer
        self.rests = (
            False  # since FEW failures in a row, until a request that began then is answered
        )

    @rule(seconds=st.one_of(st.floats(0, 200), st.just(0.0)))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def wait_for_it(self) -> None:
        self.now = max(self.now, self.breaker.until)

    @rule()
    def begin(self) -> None:
        if not self.breaker.admit(self.now):
            return
        assert self.now >= self.breaker.until and self.breaker.refusal is None
        self.under_way += 1
        if self.rests:
            assert self.under_way == 1

    @precondition(lambda self: self.under_way)
    @rule()
    def answer(self) -> None:
        was_probe = self.rests and self.breaker._probing
        self.breaker.answered()
        self.under_way -= 1
        self.in_a_row = 0
        if was_probe:
            self.rests, self.probes = False, 0

    @precondition(lambda self: self.under_way)
    @rule(
        reason=st.sampled_from(["HTTP 429", "HTTP 503", "too slow"]),
        after=st.one_of(st.none(), st.floats(0, 400)),
        again=st.booleans(),
    )
    def fail(self, reason: str, after: float | None, again: bool) -> None:
        was_probe = self.rests and self.breaker._probing
        failure = Failed(reason, transient=True, retry_after=after)
        self.breaker.failed(self.now, failure, again=again)
        self.under_way -= 1
        self.in_a_row += not again
        self.probes += was_probe
        self.rests = self.rests or self.in_a_row >= FEW
        if after is not None and self.breaker.refusal is None:
            assert self.breaker.until >= self.now + after

    @invariant()
    def asks_as_long_as_nothing_is_wrong(self) -> None:
        if not self.rests and self.now >= self.breaker.until and self.breaker.refusal is None:
            assert self.breaker.admit(self.now)
            self.under_way += 1

    @invariant()
    def never_goes_on_for_ever(self) -> None:
        assert self.probes <= len(RESTS)
        assert self.breaker.refusal or self.breaker.until <= self.now + POLICY.longest


TestAsked = Asked.TestCase
TestAsked.settings = settings(max_examples=50, stateful_step_count=40)
