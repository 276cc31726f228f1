"""A hub on this machine: the few calls that an upload and a download make, for real.

Files come as git-lfs objects (images and weights) or in the commit itself (the others). It has one
repository, whatever its name.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

LARGE = (".safetensors", ".png")
TOKEN = "hf_token_of_a_test"


@dataclass
class Hub:
    """What it was asked, and what it has got. `refuses` are (status, reason) by a call's path."""

    url: str = ""
    calls: list[str] = field(default_factory=list)
    private: bool | None = None
    objects: dict[str, bytes] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)
    refuses: dict[str, tuple[int, str]] = field(default_factory=dict)


@contextmanager
def serve() -> Iterator[Hub]:
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            answer(self, hub)

        do_PUT = do_POST

        def do_GET(self) -> None:
            give(self, hub)

        do_HEAD = do_GET

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def answer(request: Any, hub: Hub) -> None:
    body = request.rfile.read(int(request.headers.get("Content-Length", 0)))
    path = request.path.partition("?")[0]
    hub.calls.append(f"{request.command} {path}")
    stored = path.startswith("/objects/")
    if not stored and request.headers.get("Authorization") != f"Bearer {TOKEN}":
        reply(request, 401, {"error": "Invalid username or password."})
    elif refused := next((hub.refuses[key] for key in hub.refuses if key in path), None):
        reply(request, refused[0], {"error": refused[1]})
    elif stored:
        hub.objects[path.rpartition("/")[2]] = body
        reply(request, 200, {})
    else:
        reply(request, 200, said(path, body, hub))


def said(path: str, body: bytes, hub: Hub) -> dict[str, Any]:
    if path == "/api/repos/create":
        asked = json.loads(body)
        hub.private = asked.get("visibility") == "private" or asked.get("private")
        return {"url": f"{hub.url}/{asked.get('organization', 'me')}/{asked['name']}"}
    if path == "/api/validate-yaml":
        assert json.loads(body)["content"].startswith("---\n")
        return {"errors": [], "warnings": []}
    if "/preupload/" in path:
        files = [file["path"] for file in json.loads(body)["files"]]
        modes = {name: "lfs" if name.endswith(LARGE) else "regular" for name in files}
        return {
            "files": [{"path": p, "uploadMode": m, "shouldIgnore": False} for p, m in modes.items()]
        }
    if path.endswith("/info/lfs/objects/batch"):
        return {
            "transfer": "basic",
            "objects": [
                {
                    "oid": each["oid"],
                    "size": each["size"],
                    "actions": {"upload": {"href": f"{hub.url}/objects/{each['oid']}"}},
                }
                for each in json.loads(body)["objects"]
            ],
        }
    assert "/commit/" in path, path
    commit(body, hub)
    owner_and_name = path.removeprefix("/api/models/").partition("/commit/")[0]
    oid = hashlib.sha1(body).hexdigest()
    return {"commitUrl": f"{hub.url}/{owner_and_name}/commit/{oid}", "commitOid": oid}


def commit(body: bytes, hub: Hub) -> None:
    for line in map(json.loads, body.splitlines()):
        value = line["value"]
        match line["key"]:
            case "header":
                hub.messages.append(value["summary"])
            case "file":
                hub.files[value["path"]] = base64.b64decode(value["content"])
            case "lfsFile":
                content = hub.objects[value["oid"]]
                assert hashlib.sha256(content).hexdigest() == value["oid"]
                hub.files[value["path"]] = content


def give(request: Any, hub: Hub) -> None:
    """What a repository has: its description, or one of its files."""
    path = request.path.partition("?")[0]
    hub.calls.append(f"{request.command} {path}")
    sha = hashlib.sha1(repr(sorted(hub.files)).encode()).hexdigest()
    if not hub.files:
        reply(request, 404, {}, {"X-Error-Code": "RepoNotFound"})
        return
    if "/tree/" in path:
        reply(
            request,
            200,
            [
                {"type": "file", "path": name, "size": len(content), "oid": sha}
                for name, content in sorted(hub.files.items())
            ],
        )
        return
    if "/resolve/" not in path:
        names = [{"rfilename": name} for name in sorted(hub.files)]
        reply(request, 200, {"id": "somebody/cubes", "sha": sha, "siblings": names})
        return
    content = hub.files.get(path.partition("/resolve/")[2].partition("/")[2])
    about = {"X-Repo-Commit": sha, "X-Error-Code": "EntryNotFound"}
    if content is None:
        reply(request, 404, {}, about)
    else:
        etag = hashlib.sha256(content).hexdigest()
        send(request, 200, content, {"X-Repo-Commit": sha, "ETag": f'"{etag}"'})


def reply(request: Any, status: int, answer: Any, headers: dict[str, str] | None = None) -> None:
    headers = {"Content-Type": "application/json", **(headers or {})}
    send(request, status, json.dumps(answer).encode(), headers)


def send(request: Any, status: int, content: bytes, headers: dict[str, str]) -> None:
    request.send_response(status)
    for name, value in {**headers, "Content-Length": str(len(content))}.items():
        request.send_header(name, value)
    request.end_headers()
    if request.command != "HEAD":
        request.wfile.write(content)
