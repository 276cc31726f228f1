"""Fetching from a real server that breaks off, lies and is not there."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from lockstep.core import download
from lockstep.core.download import Known
from lockstep.core.errors import LockstepError

CONTENT = bytes(range(256)) * 20_000  # 5 MB


@dataclass
class Site:
    """What the server does: for each request, the bytes after which it breaks off, or a status."""

    plan: list[int | str] = field(default_factory=list)
    ranges: list[int] = field(default_factory=list)
    heeds_ranges: bool = True
    port: int = 0

    def known(self, sha256: str = hashlib.sha256(CONTENT).hexdigest()) -> Known:
        return Known("file.pt", f"http://127.0.0.1:{self.port}/file.pt", sha256)


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            first = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
            site.ranges.append(first)
            act = site.plan.pop(0) if site.plan else len(CONTENT)
            if isinstance(act, str):
                self.send_error(int(act))
                return
            if first >= len(CONTENT):
                self.send_error(416)
                return
            start = first if site.heeds_ranges else 0
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(CONTENT) - start))
            self.end_headers()
            self.wfile.write(CONTENT[start : start + act])

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    site.port = server.server_port
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield site
    server.shutdown()
    server.server_close()


def test_it_goes_on_where_the_connection_broke(site: Site, tmp_path: Path) -> None:
    site.plan = [2_000_000, "503", 1_500_000]
    path = tmp_path / "cache" / "file.pt"
    seen: list[tuple[int, int | None]] = []
    download.fetch(site.known(), path, lambda done, total: seen.append((done, total)))
    assert path.read_bytes() == CONTENT
    assert sorted(p.name for p in path.parent.iterdir()) == ["file.pt", "file.pt.lock"]
    assert site.ranges[0] == 0
    assert 0 < site.ranges[1] <= 2_000_000
    assert site.ranges[1] == site.ranges[2] < site.ranges[3] <= 3_500_000
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    download.fetch(site.known(), path)  # it is there: nothing is asked for
    assert len(site.ranges) == 4


def test_another_run_goes_on_too(site: Site, tmp_path: Path) -> None:
    path = tmp_path / "file.pt"
    site.plan = [1_000_000, 0, 0, 0, 0]
    with pytest.raises(LockstepError, match=r"run it again where there is a network, or put the"):
        download.fetch(site.known(), path)
    assert not path.exists()
    download.fetch(site.known(), path)
    assert path.read_bytes() == CONTENT
    assert site.ranges[-1] > 0


def test_a_server_that_begins_anew_is_heeded(site: Site, tmp_path: Path) -> None:
    site.plan, site.heeds_ranges = [1_000_000], False
    download.fetch(site.known(), tmp_path / "file.pt")
    assert (tmp_path / "file.pt").read_bytes() == CONTENT


def test_another_file_is_not_kept(site: Site, tmp_path: Path) -> None:
    path = tmp_path / "file.pt"
    path.write_bytes(b"an old one")
    with pytest.raises(LockstepError, match="sent another file"):
        download.fetch(site.known("0" * 64), path)
    assert path.read_bytes() == b"an old one"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file.pt", "file.pt.lock"]


def test_what_was_begun_of_another_file_is_begun_anew(site: Site, tmp_path: Path) -> None:
    part = tmp_path / "file.pt.part"
    for left in (b"of another one", CONTENT + b"and more"):
        part.write_bytes(left)
        download.fetch(site.known(), tmp_path / "file.pt")
        assert (tmp_path / "file.pt").read_bytes() == CONTENT
        (tmp_path / "file.pt").unlink()


def test_what_is_whole_but_was_not_moved_is_not_fetched_again(site: Site, tmp_path: Path) -> None:
    (tmp_path / "file.pt.part").write_bytes(CONTENT)
    download.fetch(site.known(), tmp_path / "file.pt")
    assert (tmp_path / "file.pt").read_bytes() == CONTENT
    assert site.ranges == [len(CONTENT)]


def test_where_there_is_none_it_says_so(site: Site, tmp_path: Path) -> None:
    site.plan = ["404"]
    with pytest.raises(LockstepError, match="404"):
        download.fetch(site.known(), tmp_path / "file.pt")


def test_the_cache_is_where_the_user_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCKSTEP_CACHE", str(tmp_path))
    assert download.cached("inception") == tmp_path / "inception-2015-12-05.pt"
    monkeypatch.delenv("LOCKSTEP_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert download.cache() == tmp_path / "xdg" / "lockstep"
