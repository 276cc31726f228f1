"""The sections `crawl` and `download` of params.yaml, and the ways to the web they lead to."""

from __future__ import annotations

import copy
import datetime
import io
from pathlib import Path

import pytest
from PIL import Image

from collecting import AGENT
from lockstep.config.load import parse_params, read_yaml
from lockstep.core.errors import LockstepError
from lockstep.sources import source
from lockstep.sources.origin import code_of, origin_of, site_of
from lockstep.sources.ptt.client import Client
from lockstep.sources.web.get import Failed, Limits, get
from lockstep.synthetic.board.site import BOARD

COMMITTED = read_yaml(Path(__file__).resolve().parent.parent / "params.yaml")
REPLICA = origin_of("replica", articles=30, seed=0)


@pytest.mark.parametrize(
    ("section", "key", "value", "message"),
    [
        ("crawl", "start", "2024-02-30", "params.yaml: crawl.start: day is out of range"),
        ("crawl", "end", "20240101", "params.yaml: crawl.end: string should match"),
        ("crawl", "start", datetime.date(2024, 1, 1), "params.yaml: crawl.start: input should be"),
        ("crawl", "start", "2024-01-02", r"crawl.start: 2024-01-02 is after crawl.end \(2023"),
        ("crawl", "source", "www.ptt.cc", "params.yaml: crawl.source: string should match"),
        ("crawl", "source", "https://www.ptt.cc/bbs/", "params.yaml: crawl.source: string should"),
        ("crawl", "board", "../etc", "params.yaml: crawl.board: string should match"),
        ("crawl", "min_pushes", 101, "params.yaml: crawl.min_pushes: input should be less"),
        ("crawl", "max_failed_fraction", 1.5, "params.yaml: crawl.max_failed_fraction: input"),
        ("crawl", "user_agent", "", "params.yaml: crawl.user_agent: string should match"),
        ("crawl", "user_agent", "me\nX-Y: z", "params.yaml: crawl.user_agent: string should match"),
        ("crawl", "user_agent", "我", "params.yaml: crawl.user_agent: string should match"),
        ("download", "max_failed_fraction", 1.5, "params.yaml: download.max_failed_fraction: "),
        ("download", "max_pixels", 10**9, "params.yaml: download.max_pixels: input should be less"),
        ("download", "workers", 0, "params.yaml: download.workers: input should be greater"),
        ("download", "user_agent", "a\r\nX: b", "params.yaml: download.user_agent: string should"),
        ("download", "user_agent", "", "params.yaml: download.user_agent: string should match"),
        ("download", "respect_opt_outs", "no", "params.yaml: download.respect_opt_outs: input"),
    ],
)
def test_mistakes_are_named(section: str, key: str, value: object, message: str) -> None:
    document = copy.deepcopy(COMMITTED)
    document[section][key] = value
    with pytest.raises(LockstepError, match=message) as caught:
        parse_params(document, "iclevr")
    assert "\n" not in str(caught.value)


def test_a_face_is_not_enlarged() -> None:
    document = copy.deepcopy(COMMITTED)
    document["faces"]["source"]["size"] = 512
    with pytest.raises(LockstepError, match=r"source\.size: input should be less"):
        parse_params(document, "faces")


def test_the_real_board_is_asked_at_public_addresses_only() -> None:
    origin = origin_of("http://127.0.0.1:9", articles=30, seed=0)
    assert origin == {"source": "http://127.0.0.1:9"} and code_of(origin) == {}
    with source.opened(origin, AGENT) as web:
        assert not web.is_replica and web.policy(3).backoff == 1.0
        with pytest.raises(Failed, match="not a public address"):
            get(web.session, f"{web.address}/", Limits(5.0, 1000), io.BytesIO())


def test_the_replica_serves_pages_and_drawn_images() -> None:
    with source.opened(REPLICA, AGENT) as web:
        assert web.is_replica
        client = Client(web.session, web.address, delay=0.0, policy=web.policy(5))
        assert "r-list-container" in (client.page(f"/bbs/{BOARD}/index.html") or "")
        good = next(p for p in site_of(REPLICA).images if p.fault is None and p.form is None)
        sink = io.BytesIO()
        for _ in range(3):  # The first may be turned away.
            try:
                get(web.session, good.address, Limits(60.0, 10**7), sink)
                break
            except Failed as failure:
                assert failure.transient
                sink = io.BytesIO()
    with Image.open(sink) as image:
        image.load()
        assert min(image.size) > 100


def test_the_replica_is_what_its_code_makes_it() -> None:
    assert REPLICA == {"source": "replica", "articles": 30, "seed": 0}
    assert len(code_of(REPLICA)["code"]) == 64


def test_one_request_in_fifty_is_turned_away_and_only_once() -> None:
    targets = [f"/{number:07}.jpg" for number in range(3000)]
    refused = [t for t in targets if source.passing_trouble("a.example", t, 1)]
    assert 20 <= len(refused) <= 200
    assert not any(source.passing_trouble("a.example", t, 2) for t in refused)
