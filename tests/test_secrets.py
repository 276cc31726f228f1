"""A password in the address of MLflow's store is in no line that anybody sees."""

from __future__ import annotations

import argparse
import shutil
import socket
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.exc import OperationalError

from lockstep.cli import results
from lockstep.core.errors import LockstepError
from lockstep.tracking.live import followed
from lockstep.tracking.store import in_one_line, shown, without_secrets
from made_up import finished
from tiny import ROOT


@pytest.fixture
def refusing() -> str:
    """An address of this machine at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.drill(
    "MLflow",
    "an address with a password fails",
    "the password is in no line and no file",
)
@pytest.mark.parametrize(
    "address",
    [
        "http://me:t0psecret@{}",
        "http://t0psecret@{}",
        "http://me:a%2Ft0psecret@{}",
        "http://me:a/t0psecret#b@{}",  # what should have been quoted cuts the address into pieces
        "http://me:12/t0psecret@{}",
        "https://me:t0psecret@[nonsense",
        "postgresql://me:t0psecret@{}/runs",
        "postgresql://me:t0psecret#@{}/runs",
        "mysql+pymysql://me:t0psecret@{}/runs?ssl_key=t0psecret",
        "nonsense://me:t0psecret@{}",
        "sqlite+nonsense+more://me:t0psecret@{}",
        "sqlite:////dev/null/runs.db?password=t0psecret",
    ],
)
def test_an_error_has_no_password(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    refusing: str,
    address: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address.format(refusing))
    finished("iclevr", labels=3)
    shutil.copy(ROOT / "params.yaml", "params.yaml")
    with pytest.raises(LockstepError) as refused:
        results.track(argparse.Namespace())
    assert str(refused.value).startswith("MLflow at ") or ": MLflow at " in str(refused.value)
    assert "\n" not in str(refused.value)
    said = ""
    try:
        with followed("iclevr", "f" * 64, {"model.channels": [8], "train.lr": 1, "train.steps": 1}):
            pass
    except LockstepError as error:
        said = str(error)
    for text in (str(refused.value), said, *capfd.readouterr()):
        assert "t0psecret" not in text
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [path for path in written if b"t0psecret" in path.read_bytes()]


@pytest.mark.drill(
    "MLflow",
    "a request with `MLFLOW_TRACKING_TOKEN` fails",
    "the token is in no line",
)
def test_nor_one_of_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "t0psecret")
    with pytest.raises(LockstepError) as refused, in_one_line("http://host"):
        raise OSError("header: Bearer t0psecret\nand more")
    assert str(refused.value).startswith("MLflow at http://host: header: Bearer ***; is ")


@pytest.mark.drill("MLflow", "a database's driver prints the password", "it is in no line")
def test_nor_what_a_driver_says() -> None:
    uri = "postgresql://me:t0p%40secret@host/runs"
    with pytest.raises(LockstepError) as refused, in_one_line(uri):
        raise OperationalError("select 1", {}, Exception("dsn: password=t0p@secret host=host"))
    assert "t0p" not in str(refused.value)
    assert "MLflow at postgresql://host/runs: " in str(refused.value)


@given(st.text(st.characters(exclude_characters="*", exclude_categories=["Cs"]), min_size=4))
def test_no_text_with_the_address_has_the_password(password: str) -> None:
    for each in (password, quote(password, safe="")):
        uri = f"https://somebody:{each}@a.test/path"
        for secret in (password, each):
            assert secret not in without_secrets(f"failed: {uri}, {password}", uri)
            assert secret not in shown(uri).replace("https://a.test/path", "")


@pytest.mark.parametrize(
    "uri", ["sqlite:////tmp/a@b/c:d@e/mlflow.db", "http://a.test:5000/mlflow", "nonsense", ""]
)
def test_an_address_without_any_is_shown_whole(uri: str) -> None:
    assert shown(uri) == uri
    assert without_secrets(f"at {uri}!", uri) == f"at {uri}!"
