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
from lockstep.sources.web.failed import Failed
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


class _WatchedHTTPS(_Watched, HTTPSConnection):
    pass


class _PublicHTTPS(_Public, HTTPSConnection):
    pass


class _WatchedPool(HTTPConnectionPool):
    ConnectionCls = _Watched


class _WatchedPoolHTTPS(HTTPSConnectionPool):
    ConnectionCls = _WatchedHTTPS


class _PublicPool(HTTPConnectionPool):
    ConnectionCls = _Public


class _PublicPoolHTTPS(HTTPSConnectionPool):
    ConnectionCls = _PublicHTTPS


class Adapter(HTTPAdapter):
    """Connections that `deadline` can end; with `public_only`, to public addresses alone."""

    def __init__(self, *, public_only: bool, connections: int = 10) -> None:
        self._pools: dict[str, type[HTTPConnectionPool]] = (
            {"http": _PublicPool, "https": _PublicPoolHTTPS}
            if public_only
            else {"http": _WatchedPool, "https": _WatchedPoolHTTPS}
        )
        super().__init__(pool_maxsize=connections)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self._pools


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
