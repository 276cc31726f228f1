"""A hub on this machine: the few calls that `create_repo` and `upload_folder` make, for real.

Files come as git-lfs objects (images and weights) or in the commit itself (the others).
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
        hub.private = asked.get("private")
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


def reply(request: Any, status: int, answer: dict[str, Any]) -> None:
    content = json.dumps(answer).encode()
    request.send_response(status)
    request.send_header("Content-Type", "application/json")
    request.send_header("Content-Length", str(len(content)))
    request.end_headers()
    request.wfile.write(content)
