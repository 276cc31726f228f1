"""A download from hosts as they are: one that turns to 429, one that never answers."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

import killed
from drawings import drawing
from lockstep.config.load import load_params
from lockstep.core.errors import LockstepError
from lockstep.core.provenance import write_provenance
from lockstep.sources import source
from lockstep.sources.download import download as downloading
from lockstep.sources.download.by_host import by_host
from lockstep.sources.listing import read_lines, write_list
from lockstep.sources.web.breaker import FEW, HOST_REFUSES, RESTS, Hosts
from lockstep.sources.web.get import Failed
from lockstep.sources.web.retries import RetryPolicy
from lockstep.sources.web.session import Loopback, session
from lockstep.synthetic.board.server import Served, Trouble, serve
from lockstep.synthetic.board.site import Answer

COMMITTED = Path(__file__).resolve().parent.parent / "params.yaml"
LENIENT = dataclasses.replace(killed.SETTINGS, max_failed_fraction=1.0)
# What one that refuses for good is asked: all that is under way when it opens, then the probes.
MOST_ASKED = FEW + killed.SETTINGS.per_host + len(RESTS)


def listed(folder: Path, addresses: list[str]) -> Path:
    path = folder / "images.json"
    write_list(path, [{"address": address, "named_by": []} for address in addresses])
    return path


def images_of(host: str, count: int) -> list[str]:
    return [f"https://{host}/{number}.png" for number in range(count)]


def picture(host: str, target: str, cookies: dict[str, str]) -> Answer:
    number = target[1:].removesuffix(".png")
    return Answer(200, drawing(int(number)).data) if number.isdigit() else Answer(404)


def reasons(folder: Path) -> Counter[str]:
    text = (folder / "downloaded" / "failed.txt").read_text()
    return Counter(line.split("\t")[1] for line in text.splitlines())


def fetched(folder: Path) -> list[str]:
    return [line["address"] for line in read_lines(folder / "downloaded" / "manifest.jsonl")]


# --- one that turns to 429 halfway


class Limited:
    """Delivers so many images, then nothing but 429, until `limit` is raised."""

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.delivered: list[str] = []
        self._lock = threading.Lock()  # requests are answered by a thread each

    def trouble(self, host: str, target: str, number: int) -> Trouble | None:
        if target == "/robots.txt":
            return None
        with self._lock:
            if len(self.delivered) >= self.limit:
                return Trouble(status=429)
            self.delivered.append(target)
        return None


@pytest.mark.parametrize("count", [2000, pytest.param(43_000, marks=pytest.mark.long)])
def test_killed_and_refused_halfway_it_keeps_what_it_has_and_asks_for_the_rest_later(
    count: int, tmp_path: Path
) -> None:
    host = Limited(count // 2)
    addresses = images_of("a.example", count)
    images = listed(tmp_path, addresses)
    (tmp_path / "crawled").mkdir()
    images.rename(tmp_path / "crawled" / "images.json")
    images = tmp_path / "crawled" / "images.json"
    workers = killed.SETTINGS.workers
    with serve(picture, host.trouble) as served:
        kill_after(served, tmp_path, lambda: len(host.delivered) >= count // 4)
        strict = dataclasses.replace(killed.SETTINGS, max_failed_fraction=0.1)
        with pytest.raises(LockstepError) as caught:
            killed.run_download(served.port, tmp_path, images, strict)
        message = str(caught.value)
        assert "\n" not in message and "host refuses (" in message
        assert re.search(r"a\.example \(HTTP 429\) refused \d+ images: run again later", message)
        # robots.txt, in each of the runs; and an image that comes late, after the first refusals,
        # has the breaker count anew.
        late = killed.SETTINGS.per_host
        assert len(served.log) <= count // 2 + MOST_ASKED + 2 + late

        # It goes on to refuse: what is there is enough now.
        served.log.clear()
        refused = killed.run_download(served.port, tmp_path, images, LENIENT)
        got = fetched(tmp_path)
        assert count // 2 - workers <= len(got) <= count // 2
        assert list(refused) == ["a.example (HTTP 429)"]
        assert reasons(tmp_path)[HOST_REFUSES] == refused["a.example (HTTP 429)"]
        assert reasons(tmp_path).total() == count - len(got)
        assert len(served.log) <= MOST_ASKED + 1

        # It is back.
        host.limit = float("inf")
        served.log.clear()
        assert killed.run_download(served.port, tmp_path, images, LENIENT) == {}
        assert len(served.log) == count - len(got) + 1
        assert fetched(tmp_path) == addresses
    assert len(host.delivered) - len(set(host.delivered)) <= workers


def kill_after(served: Served, folder: Path, done: Callable[[], bool]) -> None:
    """Begin a download as a program of its own, and kill it."""
    environment = {**os.environ, "PYTHONPATH": str(Path(killed.__file__).parents[1] / "src")}
    command = [sys.executable, killed.__file__, "download", str(served.port), str(folder)]
    with subprocess.Popen(command, env=environment) as process:
        while not done() and process.poll() is None:
            time.sleep(0.001)
        memory = psutil.Process(process.pid).memory_info().rss
        process.kill()
    assert memory < 700e6


def test_a_host_that_needs_a_rest_gets_it_and_then_gives_everything(tmp_path: Path) -> None:
    """Nothing is lost to one that refuses for a while, but the few that it was tried with."""
    turned_away: list[str] = []
    lock = threading.Lock()

    def trouble(host: str, target: str, number: int) -> Trouble | None:
        with lock:
            begins = target in ("/20.png", "/40.png") and target not in turned_away
            # Five open the breaker, or six that were under way: two probes at most are refused.
            if begins or len(turned_away) % 7:
                turned_away.append(target)
                return Trouble(status=503)
        return None

    images = listed(tmp_path, images_of("a.example", 80))
    with serve(picture, trouble) as served:
        assert killed.run_download(served.port, tmp_path, images) == {}
    assert len(fetched(tmp_path)) >= 70 and HOST_REFUSES not in reasons(tmp_path)


# --- others


@pytest.mark.parametrize("respect", [True, False])
def test_one_that_accepts_and_never_answers_holds_up_nothing_else(
    respect: bool, tmp_path: Path
) -> None:
    def trouble(host: str, target: str, number: int) -> Trouble | None:
        return Trouble(wait=3.0) if host == "silent.example" else None

    addresses = images_of("silent.example", 200) + images_of("good.example", 20)
    wanted = dataclasses.replace(LENIENT, seconds=1.0, workers=8, per_host=6)
    wanted = dataclasses.replace(wanted, respect_opt_outs=respect)
    with serve(picture, trouble) as served:
        refused = killed.run_download(served.port, tmp_path, listed(tmp_path, addresses), wanted)
    assert set(fetched(tmp_path)) == set(addresses[200:])
    assert list(refused) == ["silent.example (too slow)"] and sum(refused.values()) > 180
    asked = [r for r in served.log if r.host == "silent.example"]
    assert len(asked) <= FEW + wanted.per_host + len(RESTS)


def test_a_host_that_is_not_there_at_all(tmp_path: Path) -> None:
    images = listed(tmp_path, images_of("gone.example", 500))
    with pytest.raises(LockstepError, match=r"gone\.example \(no connection\) refused 4\d\d"):
        killed.run_download(1, tmp_path, images)


def test_one_whose_addresses_all_lead_to_a_host_that_refuses(tmp_path: Path) -> None:
    def answer(host: str, target: str, cookies: dict[str, str]) -> Answer:
        if host == "short.example" and target != "/robots.txt":
            return Answer(302, headers={"Location": f"https://busy.example{target}"})
        return picture(host, target, cookies)

    def trouble(host: str, target: str, number: int) -> Trouble | None:
        return Trouble(status=429) if host == "busy.example" else None

    with serve(answer, trouble) as served:
        images = listed(tmp_path, images_of("short.example", 300))
        refused = killed.run_download(served.port, tmp_path, images, LENIENT)
    assert sum(refused.values()) > 280 and len(served.log) <= 4 * MOST_ASKED


def test_robots_txt_that_cannot_be_had_is_the_hosts_failure(tmp_path: Path) -> None:
    def trouble(host: str, target: str, number: int) -> Trouble | None:
        return Trouble(status=500) if target == "/robots.txt" else None

    images = listed(tmp_path, images_of("a.example", 60))
    with serve(picture, trouble) as served:
        refused = killed.run_download(served.port, tmp_path, images, LENIENT)
        assert list(refused) == ["a.example (HTTP 500)"]
        assert {r.target for r in served.log} == {"/robots.txt"}
        assert len(served.log) <= MOST_ASKED
    with serve(picture) as served:  # The next run asks again.
        assert killed.run_download(served.port, tmp_path, images, LENIENT) == {}
    assert len(fetched(tmp_path)) == 60


def test_half_of_a_hosts_images_broken_is_no_refusal(tmp_path: Path) -> None:
    def trouble(host: str, target: str, number: int) -> Trouble | None:
        return Trouble(status=500) if int(target[1:-4] or 1, 36) % 2 else None

    images = listed(tmp_path, images_of("a.example", 60))
    wanted = dataclasses.replace(LENIENT, respect_opt_outs=False)
    with serve(picture, trouble) as served:
        assert killed.run_download(served.port, tmp_path, images, wanted) == {}
    assert len(fetched(tmp_path)) == 30 and set(reasons(tmp_path)) == {"HTTP 500"}


def test_any_number_of_addresses_of_one_that_refuses_fail_in_a_moment() -> None:
    tried = []

    def work(task: int) -> None:
        tried.append(task)
        raise Failed("HTTP 503", transient=True)

    hosts, tasks = Hosts(RetryPolicy(3, 0.0)), range(25_000)
    found = dict(by_host(tasks, lambda task: "a", work, hosts, workers=4, per_host=3))
    assert sorted(found) == [*tasks]
    assert len(tried) <= FEW + 3 + len(RESTS)
    reasons = Counter(str(result) for result in found.values())
    assert reasons.keys() == {"HTTP 503", HOST_REFUSES} and reasons["HTTP 503"] <= len(tried)


def test_a_host_that_rests_holds_up_no_other() -> None:
    tries = Counter[str]()

    def work(task: str) -> str:
        tries[task[0]] += 1
        if task[0] == "a":
            raise Failed("too slow", transient=True)
        return task

    hosts = Hosts(RetryPolicy(1, backoff=1e6, longest=float("inf")))
    tasks = [*(f"a{i}" for i in range(200)), *(f"b{i}" for i in range(20))]
    results = by_host(tasks, lambda task: task[0], work, hosts, workers=1, per_host=1)
    found = [next(results)[0] for _ in range(FEW + 20)]
    results.close()
    assert sum(task[0] == "b" for task in found) == 20 and tries["a"] == FEW


@pytest.mark.parametrize("limit", [10, 10_000])
def test_the_stage_says_in_one_line_what_to_run_later(
    limit: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    (tmp_path / "crawled").mkdir()
    (tmp_path / "out").mkdir()
    images = listed(tmp_path, images_of("a.example", 50))
    images.rename(tmp_path / "crawled" / "images.json")
    origin = {"source": "https://www.ptt.example"}
    write_provenance(tmp_path / "crawled", {}, origin=origin)
    params = load_params("faces", COMMITTED)
    wanted = dataclasses.replace(
        params.download, max_failed_fraction=1.0, user_agent="my-set/1 (me@a.example)"
    )
    agents = set()

    def answer(host: str, target: str, cookies: dict[str, str]) -> Answer:
        return picture(host, target, cookies)

    with serve(answer, Limited(limit).trouble) as served:

        @contextmanager
        def opened(origin: object, user_agent: str, connections: int) -> Iterator[source.Source]:
            way = session(Loopback(served.port, connections), user_agent)
            yield source.Source("https://www.ptt.example", way, True)
            agents.add(way.headers["User-Agent"])

        monkeypatch.setattr(source, "opened", opened)
        downloading.fetch(
            dataclasses.replace(params, download=wanted), tmp_path / "crawled", tmp_path / "out"
        )
    said = [line for line in capsys.readouterr().err.splitlines() if "refused" in line]
    assert agents == {"my-set/1 (me@a.example)"}
    if limit > 50:
        assert said == []
    else:
        assert len(said) == 1 and "a.example (HTTP 429) refused" in said[0]
        assert "`dvc repro --force --single-item download@faces`" in said[0]
