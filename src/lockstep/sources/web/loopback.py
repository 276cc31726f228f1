"""The way to a server on this machine that answers for hosts of any name."""

from __future__ import annotations

from typing import Any

import requests
from urllib3.connectionpool import HTTPConnectionPool

from lockstep.sources.web.session import Adapter


class Loopback(Adapter):
    """Sends every request, whatever host it names, to a port of this machine.

    The host goes along in its header. So addresses stay what they are, and nothing leaves.
    """

    def __init__(self, port: int, connections: int = 10) -> None:
        super().__init__(public_only=False, connections=connections)
        self._port = port

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> HTTPConnectionPool:
        return self.poolmanager.connection_from_host("127.0.0.1", self._port, "http")

    def add_headers(self, request: requests.PreparedRequest, **kwargs: Any) -> None:
        request.headers["Host"] = (request.url or "").split("/")[2]
