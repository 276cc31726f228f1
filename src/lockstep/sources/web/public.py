"""Which internet addresses are public.

An address that a stranger wrote on a web board must not make this machine ask its own services,
its neighbours' or a cloud's metadata server.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

# https://www.rfc-editor.org/rfc/rfc6052: the last 32 bits are an IPv4 address.
_NAT64 = IPv6Network("64:ff9b::/96")


def is_public(address: str) -> bool:
    """Whether an IPv4 or IPv6 address (not a name) is one of the public internet's hosts."""
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
