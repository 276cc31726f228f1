"""What the server of `lockstep app` answers, and how it starts; without Gradio."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app_project import write_labelled, write_params
from lockstep.app import server
from lockstep.app.server import OwnRoutes, is_open
from lockstep.core.errors import LockstepError
from tiny import ROOT


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("HEAD", "/"),
        ("GET", "/assets/index-x.js"),
        ("GET", "/gradio_api/queue/data"),
        ("POST", "/gradio_api/queue/join"),
    ],
)
def test_the_pages_own_requests_are_answered(method: str, path: str) -> None:
    assert is_open(method, path)


# Gradio's routes that read, write, fetch or change something, as 6.31 has them.
CLOSED = [
    "file=/etc/passwd",
    "file//etc/passwd",
    "upload",
    "proxy=https://example.org",
    "call/pressed",
    "run/pressed",
    "api/pressed",
    "component_server",
    "process_recording",
    "stream/0",
    "vibe-edit",
    "vibe-code",
    "profiling/traces",
    "run-history/records",
    "deep_link",
    "openapi.json",
]


@given(
    st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"]),
    st.sampled_from(["", "/gradio_api", "/assets/..", "/static/x/../.."]),
    st.sampled_from(CLOSED) | st.text(),
)
@example("GET", "/assets/..", "gradio_api/file=/etc/passwd")
@example("POST", "", "")
def test_no_other_request_is(method: str, prefix: str, rest: str) -> None:
    path = f"{prefix}/{rest}"
    own = {*server._GET_EXACTLY, *server._POST_EXACTLY}
    if path not in own and not (path.startswith(server._GET) and ".." not in path):
        assert not is_open(method, path)
    for closed in CLOSED:
        assert not is_open(method, f"{prefix}/{closed}")


def answer(scope: dict[str, object]) -> list[dict[str, object]]:
    """What comes back through the door, of an application that answers everything."""
    sent: list[dict[str, object]] = []

    async def inside(scope, receive, send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x", b"y")]})
        await send({"type": "http.response.body", "body": b"inside"})

    async def receive() -> dict[str, object]:
        return {"type": "http.request"}

    async def send(message) -> None:
        sent.append(message)

    asyncio.run(OwnRoutes(inside)(scope, receive, send))  # type: ignore[arg-type]
    return sent


def test_the_door() -> None:
    start, body = answer({"type": "http", "method": "GET", "path": "/"})
    headers = dict(start["headers"])  # type: ignore[call-overload]
    assert (start["status"], body["body"]) == (200, b"inside")
    assert b"default-src 'self'" in headers[b"content-security-policy"]
    assert headers[b"x"] == b"y"
    start, body = answer({"type": "http", "method": "GET", "path": "/gradio_api/file=/etc/passwd"})
    assert (start["status"], body["body"]) == (404, b"not found\n")
    assert answer({"type": "websocket", "path": "/"}) == []


# The command


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    write_params()
    return tmp_path


def command(*arguments: str) -> tuple[int, str]:
    """Exit status and stderr of `lockstep app`."""
    done = subprocess.run(
        [sys.executable, "-m", "lockstep.cli", "app", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        text=True,
        capture_output=True,
        check=False,
        timeout=300,
    )
    return done.returncode, done.stderr


def test_without_gradio_it_says_what_to_install(
    work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)  # type: ignore[arg-type]
    with pytest.raises(LockstepError) as caught:
        server.serve(None, "127.0.0.1", 0)
    assert "`pip install --no-deps -r requirements-app.lock`" in str(caught.value)
    named = [
        line for line in (ROOT / "requirements-app.lock").read_text().splitlines() if "==" in line
    ]
    assert any(line.startswith("gradio==") for line in named)


def test_an_empty_host_is_not_every_address() -> None:
    with pytest.raises(LockstepError, match=r"^--host: empty"):
        server.serve(None, "", 0)


@pytest.mark.parametrize("lock", ["app", "browser", "remotes"])
def test_what_is_installed_besides_changes_nothing_that_is_pinned(lock: str) -> None:
    pinned, more = (
        {
            line.partition("==")[0].lower().replace("_", "-")
            for line in (ROOT / name).read_text("utf-8").splitlines()
            if not line.startswith("#")
        }
        for name in ("requirements.lock", f"requirements-{lock}.lock")
    )
    assert not pinned & more


def test_a_port_in_use_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(LockstepError) as caught:
            server._listen("127.0.0.1", port)
    assert str(caught.value) == (
        f"port {port} is in use; give another one with --port, or --port 0 for any"
    )
    with pytest.raises(
        LockstepError, match=r"^no\.such\.host\.invalid:80: .*; give another --host"
    ):
        server._listen("no.such.host.invalid", 80)


def test_bad_words_are_one_line(work: Path) -> None:
    pytest.importorskip("gradio", reason="Gradio is not installed: requirements-app.lock")
    for arguments, said in (
        (["zebra"], "error: unknown workload 'zebra'; choose from iclevr, faces"),
        (["faces"], "error: models/faces/provenance.json: missing; `dvc repro` makes it\n"),
        (["--model", "x"], "error: --model: is a model of one workload; name the workload too\n"),
        (["--port", "70000"], "'70000' is not a port, 0 to 65535"),
    ):
        status, err = command(*arguments)
        assert status != 0
        assert said in err
        assert "Traceback" not in err
    write_labelled("iclevr")
    write_labelled("faces")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, err = command("iclevr", "--port", str(port))
    assert (status, err.count("\n")) == (1, 1)
    assert err.startswith(f"error: port {port} is in use; ")
