"""Several machines as one: what the environment says of them, and two of them on loopback."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep.core import nodes, rank
from lockstep.core.errors import LockstepError
from test_distributed import FIFTY, LONG, finish, losses, start, wait_for_step
from tiny import tiny_dataset

# What the environment says


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in list(os.environ):
        if name.startswith(("SLURM_", "LOCKSTEP_")):
            monkeypatch.delenv(name)
    return monkeypatch


THREE = {"LOCKSTEP_NODES": "3", "LOCKSTEP_NODE": "2", "LOCKSTEP_RDZV": "node-0:29500"}
STEP = {
    "SLURM_JOB_ID": "70123",
    "SLURM_STEP_NUM_NODES": "4",
    "SLURM_STEP_NUM_TASKS": "4",
    "SLURM_STEP_NODELIST": "gpu[07-09,12],big1",
    "SLURM_NODEID": "3",
}


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, None),
        ({"LOCKSTEP_NODES": "1"}, None),
        (THREE, nodes.Nodes(3, 2, "node-0", 29500, 600)),
        (
            {**THREE, "LOCKSTEP_RDZV": "[fd00::1]:80", "LOCKSTEP_RDZV_TIMEOUT": "9"},
            nodes.Nodes(3, 2, "fd00::1", 80, 9),
        ),
        (STEP, nodes.Nodes(4, 3, "gpu07", 20123, 600)),
        ({**STEP, "LOCKSTEP_RDZV": "10.0.0.7:29500"}, nodes.Nodes(4, 3, "10.0.0.7", 29500, 600)),
        ({**STEP, **THREE}, nodes.Nodes(3, 2, "node-0", 29500, 600)),
        # In the batch script itself, before any srun, there is one node.
        ({"SLURM_JOB_NUM_NODES": "4", "SLURM_NODEID": "0", "SLURM_JOB_NODELIST": "a[1-4]"}, None),
    ],
)
def test_what_the_environment_says(
    bare: pytest.MonkeyPatch, variables: dict[str, str], expected: nodes.Nodes | None
) -> None:
    for name, value in variables.items():
        bare.setenv(name, value)
    found = nodes.of_environment()
    assert found == expected
    if found is not None:
        host, _, port = found.endpoint.rpartition(":")
        assert (host.strip("[]"), int(port)) == (found.host, found.port)


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({**THREE, "LOCKSTEP_NODES": "two"}, "LOCKSTEP_NODES: 'two' is no whole number from 1"),
        ({**THREE, "LOCKSTEP_NODES": "0"}, "LOCKSTEP_NODES: '0' is no whole number from 1"),
        ({**THREE, "LOCKSTEP_NODE": "-1"}, "LOCKSTEP_NODE: '-1' is no whole number from 0"),
        ({**THREE, "LOCKSTEP_NODE": "3"}, "LOCKSTEP_NODE: 3 is none of 3 nodes; they are 0 to 2"),
        ({"LOCKSTEP_NODES": "2"}, "LOCKSTEP_NODE: missing; set it on each node"),
        ({"LOCKSTEP_NODES": "2", "LOCKSTEP_NODE": "0"}, "LOCKSTEP_RDZV: missing; set it to"),
        ({**THREE, "LOCKSTEP_RDZV": "node-0"}, "LOCKSTEP_RDZV: 'node-0' is no host:port"),
        ({**THREE, "LOCKSTEP_RDZV": "a:99999"}, "LOCKSTEP_RDZV: 'a:99999' is no host:port"),
        ({**THREE, "LOCKSTEP_RDZV_TIMEOUT": "1h"}, "LOCKSTEP_RDZV_TIMEOUT: '1h' is no whole"),
        ({**STEP, "SLURM_STEP_NUM_TASKS": "8"}, "srun: several tasks on a node; start one"),
    ],
)
def test_what_makes_no_sense_is_said(
    bare: pytest.MonkeyPatch, variables: dict[str, str], said: str
) -> None:
    for name, value in variables.items():
        bare.setenv(name, value)
    with pytest.raises(LockstepError, match=re.escape(said)):
        nodes.of_environment()


NAMES = st.from_regex(r"[a-z][a-z0-9.-]{0,8}[a-z]", fullmatch=True)
NUMBERS = st.tuples(st.integers(0, 99), st.integers(1, 4))


@given(NAMES, NUMBERS, st.sampled_from(["", "-i"]), st.booleans(), st.lists(NAMES, max_size=3))
def test_the_first_host_of_a_list(
    name: str, number: tuple[int, int], suffix: str, brackets: bool, others: list[str]
) -> None:
    first = f"{number[0]:0{number[1]}d}"
    written = f"[{first}-{number[0] + 5},{number[0] + 9}]" if brackets else first
    hosts = ",".join([f"{name}{written}{suffix}", *others])
    assert nodes.first_host(hosts) == f"{name}{first}{suffix}"


@pytest.mark.parametrize(
    ("variables", "first", "main"),
    [
        ({}, True, True),
        ({"RANK": "1", "LOCAL_RANK": "1"}, False, False),
        ({"RANK": "2", "LOCAL_RANK": "0"}, True, False),
        ({"RANK": "1"}, False, False),
    ],
)
def test_one_process_of_each_machine_reads_and_speaks(
    bare: pytest.MonkeyPatch, variables: dict[str, str], first: bool, main: bool
) -> None:
    for name, value in {"WORLD_SIZE": "4", **variables}.items():
        bare.setenv(name, value)
    assert (rank.is_first_here(), rank.is_main()) == (first, main)


# Two nodes on loopback


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nodes")
    tiny_dataset(folder / "data")
    return folder


def node(
    number: int,
    port: int,
    root: Path,
    run: str,
    limit: int = 120,
    host: str = "127.0.0.1",
    launcher: tuple[str, ...] = (),
    **changes: object,
) -> subprocess.Popen[str]:
    variables = {
        "LOCKSTEP_NODES": "2",
        "LOCKSTEP_NODE": str(number),
        "LOCKSTEP_RDZV": f"{host}:{port}",
        "LOCKSTEP_RDZV_TIMEOUT": str(limit),
    }
    with pytest.MonkeyPatch.context() as environment:
        for name, value in variables.items():
            environment.setenv(name, value)
        return start(root, run, launcher, **changes)


def errors(said: str) -> list[str]:
    assert "Traceback" not in said, said
    return [line for line in said.splitlines() if line.startswith("error: ")]


def kill(child: subprocess.Popen[str]) -> None:
    """A machine that is gone: its launcher and its processes."""
    for process in [child, *psutil.Process(child.pid).children(recursive=True)]:
        process.kill()


def test_two_nodes_give_the_curve_of_one_process(root: Path, port: int) -> None:
    pair = [node(number, port, root, "nodes", **FIFTY) for number in (1, 0)]
    alone = start(root, "alone", **FIFTY)
    for child in (*pair, alone):
        assert "error" not in finish(child)
    assert losses(root, "nodes") == pytest.approx(losses(root, "alone"), rel=1e-4)


def ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"no network of one's own here: ip {' '.join(arguments)}: {done.stderr}")


@pytest.fixture
def machines() -> Iterator[tuple[str, str]]:
    """The names of two network namespaces with a cable between them, and nothing else.

    Their addresses are 10.213.7.1 and 10.213.7.2. Both know `node-0`, which takes its name for
    127.0.1.1, as Debian has it; neither knows this machine's own name.
    """
    if shutil.which("ip") is None:
        pytest.skip("no iproute2")
    names = f"lk{os.getpid()}a", f"lk{os.getpid()}b"
    hosts = [Path("/etc/netns") / name for name in names]
    try:
        for name, folder, node_0 in zip(names, hosts, ("127.0.1.1", "10.213.7.1"), strict=True):
            ip("netns", "add", name)
            folder.mkdir(parents=True)
            (folder / "hosts").write_text(f"127.0.0.1 localhost\n{node_0} node-0\n")
            ip("netns", "exec", name, "true")
        ends = "cable0", "cable1"
        ip(*f"-n {names[0]} link add {ends[0]} type veth peer {ends[1]} netns {names[1]}".split())
        for number, (name, end) in enumerate(zip(names, ends, strict=True), 1):
            ip("-n", name, "address", "add", f"10.213.7.{number}/24", "dev", end)
            ip("-n", name, "link", "set", end, "up")
            ip("-n", name, "link", "set", "lo", "up")
        yield names
    finally:
        for name, folder in zip(names, hosts, strict=True):
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)
            shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize("host", ["10.213.7.1", "node-0"])
def test_two_nodes_on_a_network_give_the_curve_of_one_process(
    root: Path, port: int, machines: tuple[str, str], host: str
) -> None:
    run = f"network-{host}"
    pair = [
        node(
            number,
            port,
            root,
            run,
            host=host,
            launcher=("ip", "netns", "exec", name, sys.executable),
            **FIFTY,
        )
        for number, name in enumerate(machines)
    ]
    try:
        for child in pair:
            assert "error" not in finish(child)
    finally:
        for child in pair:
            if child.poll() is None:
                kill(child)
    finish(start(root, "no-network", **FIFTY))
    assert losses(root, run) == pytest.approx(losses(root, "no-network"), rel=1e-4)


# How gloo is told which interface to use


@pytest.fixture
def network(bare: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """A machine called `here`; each host's addresses, to which a test may add."""
    cards = {
        "lo": ["127.0.0.1", "::1"],
        "eth0": ["192.168.7.2", "10.0.0.2", "fe80::2%eth0"],
        "eth1": ["10.1.0.2"],
    }

    def family(address: str) -> socket.AddressFamily:
        return socket.AF_INET6 if ":" in address else socket.AF_INET

    def interfaces() -> dict[str, list[SimpleNamespace]]:
        return {
            name: [SimpleNamespace(family=family(each), address=each) for each in addresses]
            for name, addresses in cards.items()
        }

    hosts: dict[str, list[str]] = {"here": ["127.0.1.1"]}

    def resolve(host: str, port: object, **_: object) -> list[tuple]:
        if host not in hosts:
            raise socket.gaierror("no such host")
        return [(family(each), 1, 6, "", (each, 0)) for each in hosts[host]]

    bare.setattr(psutil, "net_if_addrs", interfaces)
    bare.setattr(socket, "gethostname", lambda: "here")
    bare.setattr(socket, "getaddrinfo", resolve)
    bare.setenv("GLOO_SOCKET_IFNAME", "")  # so that what is set is taken back
    bare.delenv("GLOO_SOCKET_IFNAME")
    return hosts


@pytest.mark.parametrize(
    ("own", "named", "expected"),
    [
        ("10.1.0.2", "127.0.1.1", "eth1"),
        ("10.1.0.2", "10.1.0.2", None),  # what gloo takes by itself
        ("10.1.0.2", "10.1.0.2 127.0.1.1", None),
        ("10.1.0.2", "127.0.1.1 10.1.0.2", "eth1"),  # it would take the first
        ("::ffff:10.1.0.2", "127.0.1.1", "eth1"),
        ("10.0.0.2", "127.0.1.1", None),  # of eth0 gloo would take the other one
        ("127.0.0.1", "10.1.0.2", "lo"),  # two nodes of one machine
        ("10.9.9.9", "127.0.1.1", None),
    ],
)
def test_the_interface_of_an_address(
    network: dict[str, list[str]], own: str, named: str, expected: str | None
) -> None:
    network["here"] = named.split()
    nodes._talk_from(nodes._address(own))
    assert os.environ.get("GLOO_SOCKET_IFNAME") == expected


def test_one_that_is_set_stays(network: dict[str, list[str]], bare: pytest.MonkeyPatch) -> None:
    bare.setenv("GLOO_SOCKET_IFNAME", "mine")
    nodes._talk_from(nodes._address("10.1.0.2"))
    assert os.environ["GLOO_SOCKET_IFNAME"] == "mine"


@pytest.mark.parametrize(("cards", "expected"), [(("lo", "eth1"), "eth1"), (("lo",), None)])
def test_a_node_0_whose_name_means_itself_takes_its_only_interface(
    network: dict[str, list[str]],
    bare: pytest.MonkeyPatch,
    cards: tuple[str, ...],
    expected: str | None,
) -> None:
    network["node-0"] = ["127.0.1.1"]
    every = psutil.net_if_addrs()
    first = nodes.Nodes(2, 0, "node-0", 29500, 600)
    first.choose_interface()
    assert "GLOO_SOCKET_IFNAME" not in os.environ  # there are two
    bare.setattr(psutil, "net_if_addrs", lambda: {name: every[name] for name in cards})
    nodes.Nodes(2, 1, "node-0", 29500, 600).choose_interface()
    assert "GLOO_SOCKET_IFNAME" not in os.environ  # `reach` does so there
    first.choose_interface()
    assert os.environ.get("GLOO_SOCKET_IFNAME") == expected


@pytest.mark.drill(
    "Killed at any moment",
    "one machine of a training dies",
    "one line; the same command goes on and ends in the same bytes",
)
@pytest.mark.long
@pytest.mark.parametrize("killed", [0, 1])
def test_a_node_that_dies_ends_the_job_and_the_same_command_goes_on(
    root: Path, port: int, killed: int
) -> None:
    run = f"killed-{killed}"
    short = {**FIFTY, "steps": 16}
    pair = [node(number, port, root, run, **short) for number in (0, 1)]
    wait_for_step(pair[0], 9)
    kill(pair[killed])
    other = pair[1 - killed]
    _, said = other.communicate(timeout=180)
    assert other.returncode == 1
    (line,) = errors(said)
    assert line.startswith("error: another process of this job ended, so this one does too; ")
    assert "goes on from the last checkpoint" in line
    (root / f"{run}.log").unlink()
    for child in [node(number, port, root, run, **short) for number in (0, 1)]:
        finish(child)
    assert int((root / f"{run}.log").read_text().split()[0]) > 4, "it began anew"
    for child in [node(number, port, root, f"whole-{killed}", **short) for number in (0, 1)]:
        finish(child)
    for kind in ("json", "safetensors"):
        assert (root / f"{run}.{kind}").read_bytes() == (
            root / f"whole-{killed}.{kind}"
        ).read_bytes()


@pytest.mark.drill(
    "Network",
    "a machine of a training is never started",
    "one line within the time limit",
)
def test_nodes_that_do_not_meet_say_so(root: Path, port: int) -> None:
    # One after the other: each is alone.
    for number in (0, 1):
        child = node(number, port, root, "waits", limit=2, **FIFTY)
        _, said = child.communicate(timeout=180)
        assert child.returncode == 1
        assert [line for line in said.splitlines() if line] == errors(said)
        (line,) = errors(said)
        assert f"the 2 nodes did not meet at 127.0.0.1:{port} within 2 seconds; " in line


@pytest.mark.drill(
    "Network",
    "the port of a training on several machines is in use",
    "one line names it",
)
def test_a_port_in_use_is_said(root: Path, port: int) -> None:
    with socket.create_server(("127.0.0.1", port)):
        child = node(0, port, root, "taken", limit=5, **FIFTY)
        _, said = child.communicate(timeout=180)
    assert child.returncode == 1
    (line,) = errors(said)
    assert f"LOCKSTEP_RDZV: 127.0.0.1:{port} is in use; set another port on all nodes" in line


def test_nodes_that_see_different_data_say_which(
    monkeypatch: pytest.MonkeyPatch, root: Path, port: int
) -> None:
    pair = []
    for number in (0, 1):
        monkeypatch.setenv("TINY_DATA", f"digest {number}")
        pair.append(node(number, port, root, "differ", **FIFTY))
    for child in pair:
        _, said = child.communicate(timeout=180)
        assert child.returncode == 1
        assert errors(said) == [
            "error: ROOT/data: node 1 has another than node 0; give all nodes the same checkout, "
            "data and environment"
        ]


@pytest.mark.long
def test_a_process_that_dies_before_all_are_connected_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, root: Path, port: int
) -> None:
    first = node(0, port, root, "early", limit=40, **FIFTY)
    monkeypatch.setenv("TINY_DIES", "")
    second = node(1, port, root, "early", limit=40, **FIFTY)
    said = [child.communicate(timeout=180)[1] for child in (first, second)]
    assert first.returncode == second.returncode == 1
    ((waited,), (died,)) = map(errors, said)
    assert "another process of this job ended, so this one does too; " in waited
    assert "process 1 of 2 (node 1) ended with status 7, which ended the others; " in died


@pytest.mark.long
def test_a_loss_gone_wrong_is_said_once_on_each_node(root: Path, port: int) -> None:
    wrong = {**LONG, "lr": 1e30, "warmup_steps": 0}
    for child in [node(number, port, root, "nan", **wrong) for number in (0, 1)]:
        _, said = child.communicate(timeout=180)
        assert child.returncode == 1
        (line,) = errors(said)
        assert "the loss is" in line and "lower train.lr" in line
