"""Killed at any moment and run again: the same outputs, and nothing asked for twice.

A request may be under way when its process dies: sent, but its answer not in the journal yet. Of a
crawl that is one at most, of a download as many as it has workers. No other is repeated.
"""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import pytest

import killed
from drawings import drawing
from lockstep.sources.ptt.crawl import Criteria
from lockstep.sources.resume_cache import open_cache
from lockstep.synthetic.board.server import Request, Served, Trouble, serve
from lockstep.synthetic.board.site import Site

ALL = Criteria(date(2022, 1, 1), date(2023, 12, 31))
KILLS = 5


def now_and_then(host: str, target: str, number: int) -> Trouble | None:
    if number == 1 and sum(target.encode()) % 25 == 0:
        return Trouble(status=503)
    return None


def contents(folder: Path) -> dict[str, str]:
    return {
        file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def delivered(log: list[Request]) -> list[str]:
    """What was handed over, robots.txt aside: it is asked for once a run."""
    return [r.host + r.target for r in log if r.status == 200 and r.target != "/robots.txt"]


def recorded(path: Path) -> set[str]:
    """What the journal has: of the form host/path, or /path on the board."""
    if not path.exists():
        return set()
    with open_cache(path) as found:
        rows = found._database.execute("SELECT key FROM entry").fetchall()
    return {key.split("//")[-1] for (key,) in rows}


def run_killed(what: str, served: Served, folder: Path, total: int) -> None:
    """Kill the work `KILLS` times on its way through about `total` requests, then let it end."""
    environment = {**os.environ, "PYTHONPATH": str(Path(killed.__file__).parents[1] / "src")}
    command = [sys.executable, killed.__file__, what, str(served.port), str(folder)]
    chance = random.Random(what)
    kills = []
    for moment in sorted(chance.randrange(total) for _ in range(KILLS)):
        with subprocess.Popen(command, env=environment) as process:
            while len(served.log) < moment and process.poll() is None:
                time.sleep(0.001)
            time.sleep(chance.random() * 0.01)
            process.kill()
        time.sleep(0.05)  # The server may still be busy with what was under way.
        kills.append((len(served.log), recorded(folder / f"{what}.db")))
    subprocess.run(command, env=environment, check=True)
    assert max(len(known) for _, known in kills) > 10
    for number, known in kills:
        later = {name for r in served.log[number:] for name in (r.target, r.host + r.target)}
        assert not later & known


@pytest.fixture(scope="module")
def site() -> Site:
    return Site(60, 3, drawing)


@pytest.fixture(scope="module")
def whole(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both stages' outputs, uninterrupted."""
    folder = tmp_path_factory.mktemp("whole")
    with serve(site.answer, now_and_then) as served:
        killed.run_crawl(served.port, folder, ALL)
        assert len(set(delivered(served.log))) == len(delivered(served.log))
        killed.run_download(served.port, folder)
    return folder


@pytest.mark.drill(
    "Killed at any moment",
    "SIGKILL at five moments of a crawl, by requests made",
    "no page is asked for twice; the same bytes",
)
def test_a_killed_crawl_goes_on(site: Site, whole: Path, tmp_path: Path) -> None:
    with serve(site.answer, now_and_then) as served:
        run_killed("crawl", served, tmp_path, total=55)
        asked = delivered(served.log)
    assert contents(tmp_path / "crawled") == contents(whole / "crawled")
    assert len(asked) - len(set(asked)) <= KILLS


@pytest.mark.drill(
    "Killed at any moment",
    "SIGKILL at five moments of a download",
    "no image is asked for twice; the same bytes",
)
def test_a_killed_download_goes_on(site: Site, whole: Path, tmp_path: Path) -> None:
    (tmp_path / "crawled").symlink_to(whole / "crawled")
    with serve(site.answer, now_and_then) as served:
        run_killed("download", served, tmp_path, total=130)
        asked = delivered(served.log)
    assert contents(tmp_path / "downloaded") == contents(whole / "downloaded")
    assert len(asked) - len(set(asked)) <= KILLS * killed.SETTINGS.workers
    assert not list((tmp_path / "scratch" / "files").glob(".part-*"))


def test_finished_work_asks_for_nothing(site: Site, whole: Path, tmp_path: Path) -> None:
    before = contents(whole / "crawled"), contents(whole / "downloaded")
    with serve(site.answer) as served:
        killed.run_crawl(served.port, whole, ALL)
        killed.run_download(served.port, whole)
        assert served.log == []
        # Other wishes of the same pages need no more requests either.
        fewer = Criteria(date(2022, 6, 1), date(2023, 12, 31), min_pushes=5)
        killed.run_crawl(served.port, whole, fewer)
        assert served.log == []
        killed.run_crawl(served.port, whole, ALL)
    assert before == (contents(whole / "crawled"), contents(whole / "downloaded"))
