"""Sessions of `requests` whose connections keep to a deadline, and to public addresses."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import NameResolutionError, NewConnectionError
from urllib3.response import HTTPResponse
from urllib3.util.connection import create_connection

import lockstep
from lockstep.sources.web.deadline import waits_on
from lockstep.sources.web.get import Failed
from lockstep.sources.web.public import is_public

USER_AGENT = f"lockstep/{lockstep.__version__} (image data sets; python-requests)"


class _Watched(HTTPConnection):
    def getresponse(self) -> HTTPResponse:  # type: ignore[override]
        waits_on(self.sock)
        return super().getresponse()


class _Public(_Watched):
    """Resolves the name once, checks what it found, and connects to just that.

    There is no second look-up that could give another address than the one checked.
    """

    def _new_conn(self) -> socket.socket:
        try:
            found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        except socket.gaierror as error:
            raise NameResolutionError(self.host, self, error) from error
        numeric = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        if not all(map(is_public, numeric)):
            raise Failed("not a public address", transient=False)
        reason: OSError | None = None
        for address in numeric:
            try:
                return create_connection(
                    (address, self.port),
                    self.timeout,
                    source_address=self.source_address,
                    socket_options=self.socket_options,
                )
            except OSError as error:
                reason = error
        raise NewConnectionError(self, f"no connection: {reason}") from reason


def _pools(connection: type[HTTPConnection]) -> dict[str, type[HTTPConnectionPool]]:
    """The pools of each scheme, whose connections are `connection` too."""
    secure = type("_Secure", (connection, HTTPSConnection), {})
    return {
        "http": type("_Pool", (HTTPConnectionPool,), {"ConnectionCls": connection}),
        "https": type("_SecurePool", (HTTPSConnectionPool,), {"ConnectionCls": secure}),
    }


class Adapter(HTTPAdapter):
    """Connections that `deadline` can end; with `public_only`, to public addresses alone."""

    def __init__(self, *, public_only: bool, connections: int = 10) -> None:
        self._connection = _Public if public_only else _Watched
        super().__init__(pool_maxsize=connections)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _pools(self._connection)


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


class _Session(requests.Session):
    def resolve_redirects(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
        """None: to see where one leads, `requests` would read its body, however long."""
        return iter(())


def session(adapter: HTTPAdapter) -> requests.Session:
    """A session that goes through `adapter` for everything.

    It says honestly who asks, and takes nothing from the environment: a proxy would resolve names
    on its own, past the check of their addresses.
    """
    made = _Session()
    made.trust_env = False
    made.headers["User-Agent"] = USER_AGENT
    made.headers["Accept-Encoding"] = "gzip, deflate"
    made.adapters.clear()
    for scheme in ("http://", "https://"):
        made.mount(scheme, adapter)
    return made
