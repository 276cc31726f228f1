from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from lockstep import cli
from lockstep.config.document import read_yaml
from lockstep.config.load import load_params
from lockstep.core import hashing
from lockstep.core.errors import LockstepError
from lockstep.core.lock import exclusive
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
    path.write_text(path.read_text().replace("\n  train:\n", "\n  train:\n    batch_size: 5\n"))
    status, out, _ = run("params", "iclevr")
    assert status == 0
    assert "train.batch_size: 5\n" in out
    assert f"train.lr: {read_yaml(path)['train']['lr']}\n" in out


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
    # In `dvc exp run $(lockstep preset nothing)` dvc must not begin all stages for want of words.
    for arguments, said in (
        (("nothing",), "error: unknown preset 'nothing'; choose from"),
        (("smoke", "lab"), "error: unknown workload 'lab'; choose from iclevr, faces"),
        (("smoke", "anime", "faces"), "error: 'faces' is too much; give a preset and at most one"),
        (("lab6", "faces"), "error: preset lab6 says nothing of faces; it is for evaluate@iclevr"),
    ):
        status, out, err = run("preset", *arguments)
        assert (status, out) == (1, "--no-such-preset\n")
        assert err.startswith(said)


def test_a_preset_says_what_an_earlier_one_left(run) -> None:
    for command in (
        ["init", "--quiet"],
        ["add", "params.yaml"],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "-m", "x"],
    ):
        subprocess.run(["git", *command], check=True)
    assert run("preset", "smoke", "iclevr")[2] == ""
    path = Path("params.yaml")
    document = read_yaml(path)
    document["iclevr"]["train"] |= {"lr": 0.5, "batch_size": 3}  # the second is set by smoke
    document["iclevr"]["autoencoder"] = {"latent_channels": 4}
    document["anime"]["train"]["lr"] = 0.5  # another workload's
    path.write_text(yaml.safe_dump(document, sort_keys=False), "utf-8")
    status, out, err = run("preset", "smoke", "iclevr")
    assert status == 0
    assert out.startswith("-S ++iclevr.")
    assert (
        "so they hold too: iclevr.autoencoder.latent_channels, iclevr.train.lr; `git checkout"
        in err
    )
    assert len(err.splitlines()) == 1


def test_presets_want_the_projects_folder(run) -> None:
    shutil.rmtree("presets")
    for arguments in ((), ("smoke",)):
        status, _, err = run("preset", *arguments)
        assert (status, err) == (
            1,
            "error: presets: no such folder; run from the project's folder\n",
        )


def test_what_is_wrong_with_params_is_said_in_its_name(run) -> None:
    path = Path("params.yaml")
    committed = path.read_text()
    path.write_text(committed.replace("  lr: 0.001\n  steps: 1600", "  lr: -1.0\n  steps: 1600"))
    for arguments in (
        ("preset", "smoke"),
        ("sample", "faces"),
        ("sample", "faces", "--steps", "2"),
    ):
        status, _, err = run(*arguments)
        assert status == 1
        assert err.startswith("error: params.yaml: train.lr: ")
    path.write_text(committed)
    status, _, err = run("sample", "faces", "--steps", "1001")
    assert status == 1
    assert err.startswith("error: command line (faces): sample.steps: 1001 is above diffusion")


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (b"crawl:\n  start: 2024-02-30\n", "day is out of range"),
        ("# Verf\xe4lschung\n".encode("latin-1"), "codec can't decode"),
        (b"a: [\n", "expected"),
    ],
)
def test_params_that_cannot_be_read_are_one_line(run, tmp_path: Path, written: bytes, said: str):
    Path("params.yaml").write_bytes(written)
    (tmp_path / "x").write_text("x")
    for arguments in (("params", "iclevr"), ("add", "evaluator.checkpoint", "x")):
        status, _, err = run(*arguments)
        assert status == 1
        assert err.startswith("error: params.yaml: not valid YAML: ") and said in err
        assert err.count("\n") == 1
    assert Path("params.yaml").read_bytes() == written


def test_add_writes_path_and_hash_and_keeps_the_comments(run, tmp_path: Path) -> None:
    before = Path("params.yaml").read_text().splitlines()
    checkpoint = tmp_path / "checkpoint.pth"
    checkpoint.write_bytes(b"weights")
    status, _, _ = run("add", "evaluator.checkpoint", str(checkpoint))
    assert status == 0
    found = load_params("iclevr", Path("params.yaml")).evaluator
    assert found.checkpoint == "checkpoint.pth"  # so it is found where the project is moved to
    assert found.checkpoint_sha256 is not None
    after = Path("params.yaml").read_text().splitlines()
    changed = [(a, b) for a, b in zip(before, after, strict=True) if a != b]
    assert len(changed) == 2
    assert all(b.strip().startswith("checkpoint") for _, b in changed)


def test_add_overrides_a_shared_parameter_in_a_workload(run, tmp_path: Path) -> None:
    (tmp_path / "checkpoint.pth").write_bytes(b"weights")
    status, _, _ = run("add", "iclevr.evaluator.checkpoint", str(tmp_path / "checkpoint.pth"))
    assert status == 0
    path = Path("params.yaml")
    assert load_params("iclevr", path).evaluator.checkpoint == "checkpoint.pth"
    assert load_params("captions", path).evaluator.checkpoint is None


def test_add_refuses_what_is_not_there(run, tmp_path: Path) -> None:
    before = Path("params.yaml").read_text()
    status, _, err = run("add", "evaluator.checkpoint", str(tmp_path / "nothing"))
    assert status == 1
    assert "no such file or folder" in err
    (tmp_path / "x").write_text("x")
    status, _, err = run("add", "evaluator.colour", str(tmp_path / "x"))
    assert status == 1
    assert "evaluator.colour: no such parameter" in err
    assert Path("params.yaml").read_text() == before


@pytest.mark.parametrize(
    ("path", "said"),
    [("", "is empty; name a file or folder"), ("\udcb7\udcd3", "is not UTF-8; rename it")],
)
def test_a_path_that_params_cannot_have_is_refused(run, path: str, said: str) -> None:
    for command in (("new", "pets"), ("add", "iclevr.source")):
        status, _, err = run(*command, path)
        assert status == 2
        assert err.splitlines()[-1].endswith(said)


def test_add_sets_no_list_to_a_path(run, tmp_path: Path) -> None:
    before = Path("params.yaml").read_text()
    (tmp_path / "a.zip").write_bytes(b"x")
    status, _, err = run("add", "anime.source.paths", "a.zip")
    assert status == 1
    assert "anime.source.paths is no single path" in err and "-S 'anime.source.paths=[...]'" in err
    assert "no such parameter to set" in run("add", "iclevr.evaluator", "a.zip")[2]
    assert Path("params.yaml").read_text() == before


def test_add_says_which_workload_has_a_value_of_its_own(run, tmp_path: Path) -> None:
    (tmp_path / "my clip").mkdir()
    (tmp_path / "my clip" / "config.json").write_text("{}")
    status, _, err = run("add", "text.encoder", "my clip")
    assert status == 0
    command = "lockstep add captions.text.encoder 'my clip'"
    assert err == f"captions has a value of its own, captions.text.encoder: `{command}`\n"
    status, out, err = run("add", "captions.text.encoder", "my clip")
    assert status == 0 and err.startswith("the classifier that guides reads words, which such an ")
    assert "captions.noisy_classifier.steps: 0\ncaptions.sample.classifier_scale: 0.0\n" in out
    assert run("add", "captions.text.encoder", "my clip")[2] == ""  # it is off already
    path = Path("params.yaml")
    empty = "iclevr:\n  evaluator:\n    checkpoint:\n"
    path.write_text(
        path.read_text().replace("iclevr:\n", empty, 1).replace("  evaluator: {}\n", "", 1)
    )
    assert "iclevr has a value of its own" in run("add", "evaluator.checkpoint", "presets")[2]
    found = load_params("captions", Path("params.yaml"))
    assert found.text.encoder == "my clip"
    assert found.noisy_classifier.steps == 0 and found.sample.classifier_scale == 0
    # The same of steps that a workload has from the shared section.
    document = yaml.safe_load(path.read_text("utf-8"))
    document["captions"]["noisy_classifier"] = {"width": 8}
    document["captions"]["sample"]["classifier_scale"] = 2.0
    document["noisy_classifier"]["steps"] = 5
    document["faces"]["noisy_classifier"] = document["anime"]["noisy_classifier"] = {"steps": 0}
    path.write_text(yaml.safe_dump(document), "utf-8")
    run("add", "captions.text.encoder", "my clip")
    found = load_params("captions", path)
    assert found.noisy_classifier.steps == 0 and found.sample.classifier_scale == 0


def test_add_from_another_folder_says_so(run, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path / "below")
    status, _, err = run("add", "evaluator.checkpoint", str(tmp_path / "params.yaml"))
    assert status == 1
    assert err == "error: params.yaml: no such file; run from the project's folder\n"


def test_add_of_a_key_that_is_there_twice(run, tmp_path: Path) -> None:
    path = Path("params.yaml")
    path.write_text(path.read_text() + "iclevr: {}\n")
    before = path.read_text()
    status, _, err = run("add", "captions.text.encoder", str(tmp_path / "presets"))
    assert status == 1
    assert err.startswith("error: params.yaml: ") and err.count("\n") == 1
    assert path.read_text() == before


def test_a_folder_has_a_hash_whatever_its_names_are_written_in(tmp_path: Path) -> None:
    name = "\u82b1".encode("big5")
    (tmp_path / "a").mkdir()
    Path(os.fsdecode(os.fsencode(tmp_path / "a") + b"/" + name)).write_text("x")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "flower").write_text("x")
    first, second = (hashing.sha256(tmp_path / folder) for folder in "ab")
    assert len(first) == 64 and first != second


def test_the_command_that_mends_a_hash_can_be_pasted(tmp_path: Path) -> None:
    path = tmp_path / "it's mine.zip"
    path.write_bytes(b"x")
    with pytest.raises(LockstepError) as refused:
        hashing.verify(path, "0", "iclevr.source")
    command = str(refused.value).split("`")[1]
    assert shlex.split(command) == ["lockstep", "add", "iclevr.source", str(path)]


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
