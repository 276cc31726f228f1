"""The server of the page: on this machine alone, and with no route to a file or a program."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Sequence
from importlib.util import find_spec
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

from lockstep.config.document import read_yaml, workload_names
from lockstep.config.load import load_params
from lockstep.core import paths
from lockstep.core.errors import LockstepError

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_MISSING = (
    "the page needs Gradio, and it is not installed: `make app`, or "
    "`pip install --no-deps -r requirements-app.lock`"
)
# All that the page's own scripts ask for. Gradio has routes besides that read files by their path,
# take uploads, fetch other addresses and change the program: none of them is here.
_GET = ("/assets/", "/static/", "/gradio_api/heartbeat/", "/gradio_api/startup-events")
_GET_EXACTLY = (
    "/",
    "/config",
    "/favicon.ico",
    "/theme.css",
    "/gradio_api/info",
    "/gradio_api/queue/data",
    "/gradio_api/theme.css",
)
_POST_EXACTLY = ("/gradio_api/queue/join", "/gradio_api/cancel", "/gradio_api/reset")
# Gradio's scripts compile their templates, which is eval; nothing comes from elsewhere.
_POLICY = (
    b"default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; "
    b"script-src 'self' 'unsafe-inline' 'unsafe-eval'; connect-src 'self'; object-src 'none'; "
    b"base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)


class OwnRoutes:
    """An ASGI application of which only the routes that the page needs answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http" or not is_open(scope["method"], scope["path"]):
            if scope["type"] == "http":
                await send({"type": "http.response.start", "status": 404, "headers": []})
                await send({"type": "http.response.body", "body": b"not found\n"})
            return

        async def with_policy(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message.get("headers", []),
                    (b"content-security-policy", _POLICY),
                    (b"x-content-type-options", b"nosniff"),
                    (b"referrer-policy", b"no-referrer"),
                ]
            await send(message)

        await self._app(scope, receive, with_policy)


def is_open(method: str, path: str) -> bool:
    """Whether a request is one of the page's own; paths are decoded already."""
    if ".." in path.split("/"):
        return False
    if method in ("GET", "HEAD"):
        return path in _GET_EXACTLY or path.startswith(_GET)
    return method == "POST" and path in _POST_EXACTLY


def serve(workload: str | None, host: str, port: int, others: Sequence[Path] = ()) -> None:
    """Serve the page until it is interrupted: a tab for `workload`, or for all of params.yaml.

    `others` are folders of further models of the workload. It answers to the name of `host` only,
    where that is loopback. Raises `LockstepError` without Gradio, if the port is taken, or if the
    workload is unknown or not trained.
    """
    if not host:
        raise LockstepError("--host: empty, which would be every address; give 127.0.0.1")
    if find_spec("gradio") is None:
        raise LockstepError(_MISSING)
    from lockstep.app.models import offer

    if workload is None and others:
        raise LockstepError("--model: is a model of one workload; name the workload too")
    workloads = [workload] if workload else workload_names(read_yaml(paths.PARAMS))
    if workload:
        offer(load_params(workload), others)
    listening = _listen(host, port)
    with listening:
        # Read when Gradio is imported.
        os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_DISABLE_TELEMETRY": "1"}
        app = application(workloads, others, host, listening.getsockname()[0])
        import uvicorn

        config = uvicorn.Config(
            app, log_level="warning", server_header=False, timeout_graceful_shutdown=1
        )
        print(f"http://{_named(host)}:{listening.getsockname()[1]} (Ctrl+C ends it)", flush=True)
        try:
            uvicorn.Server(config).run(sockets=[listening])
        except KeyboardInterrupt:
            return


def application(
    workloads: Sequence[str], others: Sequence[Path], host: str, address: str
) -> ASGIApp:
    """The page as an ASGI application for `host`, whose address is `address`."""
    import gradio as gr
    from fastapi import FastAPI
    from starlette.middleware.trustedhost import TrustedHostMiddleware

    from lockstep.app import page

    app = gr.mount_gradio_app(
        FastAPI(openapi_url=None),
        page.build(workloads, others),
        path="/",
        server_name=host,
        footer_links=[],
        allowed_paths=[],
        max_file_size=0,
        ssr_mode=False,
        enable_monitoring=False,
        pwa=False,
        mcp_server=False,
        css=page.CSS,
        theme=gr.themes.Base(
            font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]
        ),
    )
    # A page elsewhere whose name has been made to lead here (DNS rebinding) is not answered.
    own = [*_LOOPBACK, "[::1]", host, address]
    names = own if ip_address(address).is_loopback else ["*"]
    return TrustedHostMiddleware(OwnRoutes(app), allowed_hosts=names)


def _listen(host: str, port: int) -> socket.socket:
    """A socket that waits for the browser. Raises `LockstepError` if it cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            reason = f"port {port} is in use; give another one with --port, or --port 0 for any"
        else:
            reason = f"{host}:{port}: {error.strerror or error}; give another --host or --port"
        raise LockstepError(reason) from None


def _named(host: str) -> str:
    return f"[{host}]" if ":" in host else host
