from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from lockstep import cli, params
from lockstep.lock import exclusive
from tiny import ROOT


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    """`run("params", "iclevr")` -> (exit status, stdout, stderr), in a folder with params.yaml."""
    shutil.copy(ROOT / "params.yaml", tmp_path)
    shutil.copytree(ROOT / "presets", tmp_path / "presets")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)

    def call(*arguments: str) -> tuple[object, str, str]:
        monkeypatch.setattr(sys, "argv", ["lockstep", *arguments])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        out, err = capsys.readouterr()
        return caught.value.code, out, err

    return call


def test_params_prints_what_is_in_force(run) -> None:
    path = Path("params.yaml")
    path.write_text(path.read_text().replace("  train: {}", "  train: {batch_size: 5}"))
    status, out, _ = run("params", "iclevr")
    assert status == 0
    assert "train.batch_size: 5\n" in out
    assert f"train.lr: {params.read(path)['train']['lr']}\n" in out


def test_presets_are_listed_and_printed(run) -> None:
    status, out, _ = run("preset")
    assert status == 0
    assert "smoke" in out
    status, out, _ = run("preset", "smoke")
    assert status == 0
    targets = "evaluate@iclevr sweep@iclevr evaluate@faces evaluate@anime"
    assert out.strip().endswith(f"{targets} evaluate@captions sweep@captions")
    assert "-S ++iclevr.model.channels=[16,16] -S" in out
    status, out, _ = run("preset", "smoke", "anime")
    assert status == 0
    assert out.strip().endswith("=8 evaluate@anime")
    assert "iclevr" not in out
    status, _, err = run("preset", "lab6", "faces")
    assert status == 1
    assert err == "error: preset lab6 says nothing of faces; it is for evaluate@iclevr\n"
    status, _, err = run("preset", "nothing")
    assert status == 1
    assert err.startswith("error: unknown preset 'nothing'; choose from")


def test_add_writes_path_and_hash_and_keeps_the_comments(run, tmp_path: Path) -> None:
    before = Path("params.yaml").read_text().splitlines()
    checkpoint = tmp_path / "checkpoint.pth"
    checkpoint.write_bytes(b"weights")
    status, _, _ = run("add", "judge.checkpoint", str(checkpoint))
    assert status == 0
    found = params.load("iclevr", Path("params.yaml")).judge
    assert found.checkpoint == str(checkpoint)
    assert found.checkpoint_sha256 is not None
    after = Path("params.yaml").read_text().splitlines()
    changed = [(a, b) for a, b in zip(before, after, strict=True) if a != b]
    assert len(changed) == 2
    assert all(b.strip().startswith("checkpoint") for _, b in changed)


def test_add_refuses_what_is_not_there(run, tmp_path: Path) -> None:
    before = Path("params.yaml").read_text()
    status, _, err = run("add", "judge.checkpoint", str(tmp_path / "nothing"))
    assert status == 1
    assert "no such file or folder" in err
    (tmp_path / "x").write_text("x")
    status, _, err = run("add", "judge.colour", str(tmp_path / "x"))
    assert status == 1
    assert "judge.colour: no such parameter" in err
    assert Path("params.yaml").read_text() == before


def test_clean_shows_and_frees_scratch(run) -> None:
    assert run("clean")[1] == "nothing is left\n"
    left = Path(".scratch/train/abc/step-000000001")
    left.mkdir(parents=True)
    (left / "state.safetensors").write_bytes(bytes(3 * 2**20))
    _, out, _ = run("clean")
    assert "abc" in out and "3 MiB" in out
    assert left.exists()
    with exclusive(Path(".scratch/train/abc.lock")):
        _, out, _ = run("clean", "--force")
        assert "running" in out
        assert left.exists()
    run("clean", "--force")
    assert not left.exists()
