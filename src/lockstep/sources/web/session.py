"""Sessions of `requests` whose connections keep to a deadline, and to public addresses."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from http.client import HTTPResponse as HTTPAnswer
from http.client import IncompleteRead
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import NameResolutionError, NewConnectionError
from urllib3.response import HTTPResponse
from urllib3.util.connection import create_connection

from lockstep.sources.web.deadline import waits_on
from lockstep.sources.web.get import Failed

# https://www.rfc-editor.org/rfc/rfc6052: the last 32 bits are an IPv4 address.
_NAT64 = IPv6Network("64:ff9b::/96")


def is_public(address: str) -> bool:
    """Whether an IPv4 or IPv6 address (not a name) is one of the public internet's hosts.

    An address that a stranger wrote on a web board must not make this machine ask its own
    services, its neighbours' or a cloud's metadata server.
    """
    found = ip_address(address)
    if isinstance(found, IPv6Address):
        inner = _inner(found)
        if inner is not None:
            return is_public(str(inner))
        if found.is_site_local:  # given up by RFC 3879, but used: Python takes it for global
            return False
    return found.is_global and not (
        found.is_multicast or found.is_reserved or found.is_unspecified or found.is_link_local
    )


def _inner(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that packets to this IPv6 address end at."""
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    if address.teredo is not None:
        return address.teredo[1]
    return address.ipv4_mapped or address.sixtofour


class _Answer(HTTPAnswer):
    def _safe_read(self, amt: int) -> bytes:
        if amt < 0:  # urllib3 asks for a chunk of -1 bytes, and gets all that ever comes
            raise IncompleteRead(b"")
        return super()._safe_read(amt)  # type: ignore[misc]


class _Watched(HTTPConnection):
    response_class = _Answer

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


def session(adapter: HTTPAdapter, user_agent: str) -> requests.Session:
    """A session that goes through `adapter` for everything.

    It says that `user_agent` asks, and takes nothing from the environment: a proxy would resolve
    names on its own, past the check of their addresses.
    """
    made = _Session()
    made.trust_env = False
    made.headers["User-Agent"] = user_agent
    made.headers["Accept-Encoding"] = "gzip, deflate"
    made.adapters.clear()
    for scheme in ("http://", "https://"):
        made.mount(scheme, adapter)
    return made
