"""The machines that share a job, as the environment names them; no torch."""

from __future__ import annotations

import ipaddress
import os
import re
import socket
import time
from contextlib import suppress
from dataclasses import dataclass

import psutil

from lockstep.core.errors import LockstepError

_LIMIT = 600  # seconds for all nodes to come
_GLOO_INTERFACE = "GLOO_SOCKET_IFNAME"
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
# Beyond what Linux gives to outgoing connections (32768 up) and below what services claim.
_PORTS = range(20000, 30000)


@dataclass(frozen=True)
class Nodes:
    """`count` machines, this one being `number`; they meet at host:port, on number 0.

    `limit` is how many seconds they wait for each other there.
    """

    count: int
    number: int
    host: str
    port: int
    limit: int

    @property
    def endpoint(self) -> str:
        """host:port, an IPv6 address in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def reach(self) -> None:
        """Wait until node 0 listens. Raises `LockstepError` if it does not within the limit.

        torch waits too, and says each second that it does.
        """
        until = time.monotonic() + self.limit
        while True:
            try:
                with socket.create_connection((self.host, self.port), timeout=5) as way:
                    own = _address(way.getsockname()[0])
                break
            except OSError:
                if time.monotonic() > until:
                    raise self.not_met() from None
                time.sleep(0.5)
        _talk_from(own)

    def choose_interface(self) -> None:
        """On node 0, let torch's processes talk through the interface that the others know.

        On the others `reach` does so. Where the address is not clear, nothing is chosen.
        """
        if self.number > 0:
            return
        own = _own_address(self.host, self.port)
        if own is not None and own.is_loopback and not _is_loopback(self.host):
            own = _only_address()  # its name for itself: on Debian 127.0.1.1
        if own is not None:
            _talk_from(own)

    def not_met(self) -> LockstepError:
        """What to say where the nodes have waited for each other in vain."""
        return LockstepError(
            f"the {self.count} nodes did not meet at {self.endpoint} within {self.limit} seconds; "
            "start the same stage on each, with the same LOCKSTEP_NODES and LOCKSTEP_RDZV and a "
            "LOCKSTEP_NODE of its own, or raise LOCKSTEP_RDZV_TIMEOUT"
        )


def of_environment() -> Nodes | None:
    """Where the job runs if it is on several machines; None on one.

    `LOCKSTEP_NODES` (how many), `LOCKSTEP_NODE` (which one this is) and `LOCKSTEP_RDZV` (host:port
    on node 0) say so; or else Slurm, in a step that `srun` started on several nodes, one task each.
    `LOCKSTEP_RDZV_TIMEOUT` is the limit in seconds, by default 600.

    Raises `LockstepError` if a variable is missing or makes no sense.
    """
    if "LOCKSTEP_NODES" in os.environ:
        count, number = _number("LOCKSTEP_NODES", least=1), 0
        if count > 1:
            number = _number("LOCKSTEP_NODE", least=0)
    else:
        count = _number("SLURM_STEP_NUM_NODES", least=1, missing=1)
        if count > 1:
            if _number("SLURM_STEP_NUM_TASKS", least=1, missing=count) != count:
                raise LockstepError(
                    "srun: several tasks on a node; start one with `--ntasks-per-node=1`, "
                    "train.processes says how many processes it starts"
                )
            number = _number("SLURM_NODEID", least=0)
    if count == 1:
        return None
    if number >= count:
        raise LockstepError(
            f"LOCKSTEP_NODE: {number} is none of {count} nodes; they are 0 to {count - 1}"
        )
    return Nodes(count, number, *_meeting_point(), limit())


def limit() -> int:
    """How many seconds those who begin a job together wait for each other."""
    return _number("LOCKSTEP_RDZV_TIMEOUT", least=1, missing=_LIMIT)


def _talk_from(own: _Address) -> None:
    """Let gloo use the interface of an address of this machine.

    Without being told, it takes the address that the machine's own name leads to, which may be one
    that no other node can reach. An interface whose first address is another one would not help.
    `GLOO_SOCKET_IFNAME` is left as it is where it is set.
    """
    if _GLOO_INTERFACE in os.environ or _addresses_of(socket.gethostname())[:1] == [own]:
        return
    for name, addresses in _interfaces().items():
        if addresses[:1] == [own]:
            os.environ[_GLOO_INTERFACE] = name
            return


def _interfaces() -> dict[str, list[_Address]]:
    """The addresses of each interface that has one, those of IPv4 first, as gloo sees them."""
    found = {
        name: [
            _address(each.address)
            for family in (socket.AF_INET, socket.AF_INET6)
            for each in addresses
            if each.family == family
        ]
        for name, addresses in psutil.net_if_addrs().items()
    }
    return {name: addresses for name, addresses in found.items() if addresses}


def _only_address() -> _Address | None:
    """That of the only interface that leads out of this machine, if there is only one."""
    outward = [found[0] for found in _interfaces().values() if not found[0].is_loopback]
    return outward[0] if len(outward) == 1 else None


def _own_address(host: str, port: int) -> _Address | None:
    """From which address this machine speaks to one; None if it cannot, which is said later."""
    for address in _addresses_of(host):
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6
        with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as way:
            way.connect((str(address), port))  # sends nothing
            return _address(way.getsockname()[0])
    return None


def _addresses_of(host: str) -> list[_Address]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return []
    return [_address(str(entry[4][0])) for entry in found]


def _address(text: str) -> _Address:
    """An address without its scope (`%eth0`); one of IPv4 in IPv6's form as what it is."""
    address = ipaddress.ip_address(text.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _is_loopback(host: str) -> bool:
    """Whether a host is written as this very machine."""
    try:
        return _address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _meeting_point() -> tuple[str, int]:
    given = os.environ.get("LOCKSTEP_RDZV")
    if given is None and "LOCKSTEP_NODES" not in os.environ:
        job = _number("SLURM_JOB_ID", least=0, missing=0)
        if (hosts := os.environ.get("SLURM_STEP_NODELIST")) is None:
            raise LockstepError(
                "SLURM_STEP_NODELIST: missing; set LOCKSTEP_RDZV to an address of node 0 and a "
                "free port on it, such as node-0:29500"
            )
        return first_host(hosts), _PORTS[job % len(_PORTS)]
    found = re.fullmatch(r"(?:\[([^\[\]\s]+)\]|([^:\[\]\s]+)):(\d{1,5})", given or "")
    if found is None or not 0 < int(found[3]) < 2**16:
        said = "missing" if given is None else f"{given!r} is no host:port"
        raise LockstepError(
            f"LOCKSTEP_RDZV: {said}; set it to an address of node 0 and a free port on it, such "
            "as node-0:29500"
        )
    return found[1] or found[2], int(found[3])


def first_host(hosts: str) -> str:
    """The first of a list as Slurm writes it: `gpu[07-09,12],big1` begins with `gpu07`."""
    first = re.match(r"(?:[^,\[\]]|\[[^\[\]]+\])+", hosts)
    if first is None:
        raise LockstepError(f"SLURM_STEP_NODELIST: {hosts!r} is no list of hosts")
    return re.sub(r"\[([^\[\],-]+)[^\[\]]*\]", r"\1", first[0])


def _number(name: str, *, least: int, missing: int | None = None) -> int:
    given = os.environ.get(name)
    if given is None and missing is not None:
        return missing
    if given is None or not re.fullmatch(r"[0-9]{1,9}", given) or int(given) < least:
        said = "missing" if given is None else f"{given!r} is no whole number from {least} on"
        raise LockstepError(f"{name}: {said}; set it on each node")
    return int(given)
