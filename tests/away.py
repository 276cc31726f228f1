"""Remotes for results: a folder, and real servers of SSH and S3 on loopback."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from conftest import Project

NEEDS = "needs `make remotes`"


@dataclass(frozen=True)
class Away:
    """A remote: what everyone's .dvc/config says of it, and what only one's own config.local."""

    address: str
    settings: dict[str, str] = field(default_factory=dict)
    credentials: dict[str, str] = field(default_factory=dict)

    def add_to(self, project: Project) -> None:
        """As docs/sharing.md has it."""
        project.dvc("remote", "add", "--default", "away", self.address)
        for name, value in self.settings.items():
            project.dvc("remote", "modify", "away", name, value)
        project.run("git", "commit", "--quiet", "--message", "a remote", ".dvc/config")

    def sign_in(self, project: Project) -> None:
        for name, value in self.credentials.items():
            project.dvc("remote", "modify", "--local", "away", name, value)


@contextmanager
def folder(root: Path) -> Iterator[Away]:
    yield Away(str(root / "away"))


@contextmanager
def ssh(root: Path) -> Iterator[Away]:
    """An SFTP server that lets one key in."""
    pytest.importorskip("dvc_ssh", reason=NEEDS)
    import asyncssh

    key = asyncssh.generate_private_key("ssh-ed25519")
    key.write_private_key(root / "key")

    async def listen() -> asyncssh.SSHAcceptor:
        return await asyncssh.listen(
            "127.0.0.1",
            0,
            server_host_keys=[asyncssh.generate_private_key("ssh-ed25519")],
            authorized_client_keys=asyncssh.import_authorized_keys(
                key.export_public_key().decode()
            ),
            sftp_factory=True,
        )

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        server = asyncio.run_coroutine_threadsafe(listen(), loop).result()
        address = f"ssh://tester@127.0.0.1:{server.get_port()}{root / 'away'}"
        yield Away(address, credentials={"keyfile": str(root / "key")})
        loop.call_soon_threadsafe(server.close)
        asyncio.run_coroutine_threadsafe(server.wait_closed(), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


@contextmanager
def s3(root: Path) -> Iterator[Away]:
    """A bucket on a server that asks who one is, and believes it."""
    pytest.importorskip("dvc_s3", reason=NEEDS)
    moto = pytest.importorskip("moto.server", reason=NEEDS)
    import boto3

    server = moto.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        endpoint = "http://{}:{}".format(*server.get_host_and_port())
        credentials = {"access_key_id": "somebody", "secret_access_key": "a secret"}
        boto3.client(
            "s3",
            endpoint_url=endpoint,
            region_name="us-east-1",
            **{f"aws_{name}": value for name, value in credentials.items()},
        ).create_bucket(Bucket="results")
        yield Away("s3://results/lockstep", {"endpointurl": endpoint}, credentials)
    finally:
        server.stop()


KINDS: dict[str, Callable[[Path], AbstractContextManager[Away]]] = {
    "folder": folder,
    "ssh": ssh,
    "s3": s3,
}
