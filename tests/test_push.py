"""`lockstep export` and `push` of a project's model: card, hub, and what they refuse."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from huggingface_hub import ModelCard, constants

import loopback_hub
import tiny_models
from lockstep.config.load import load_params
from lockstep.core import paths
from lockstep.core.errors import LockstepError
from lockstep.core.files import write_json
from lockstep.core.images import write_png
from lockstep.core.provenance import write_provenance
from lockstep.export import command
from lockstep.export.origin import dvc_hash
from lockstep.export.push import push
from loopback_hub import TOKEN, Hub

ROOT = Path(__file__).resolve().parent.parent
W, REPO = "iclevr", "somebody/cubes"
METRICS = {"accuracy_test": 0.7, "accuracy_test_sd": 0.02, "swd": 106.2, "n_generated": 256}
DATA_CARD = "---\nlicense: unknown\n---\n# Cubes: 256 影像\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with an evaluated model. Shared: take `project`."""
    root = tmp_path_factory.mktemp("made")
    chosen = yaml.safe_load((ROOT / "params.yaml").read_text("utf-8"))
    chosen[W]["sample"]["classifier_scale"] = 0.0  # test_export has folders with the classifier
    (root / "params.yaml").write_text(yaml.safe_dump(chosen), "utf-8")
    model = tiny_models.save(root / "models" / W, "labels", patch=2)
    params = load_params(W, root / "params.yaml")
    samples, plots, metrics = (root / kind / W for kind in ("samples", "plots", "metrics"))
    samples.mkdir(parents=True)
    write_provenance(samples, params.deciding("sample"), model="0" * 64)
    (plots / "sample").mkdir(parents=True)
    write_png(plots / "sample" / "test.png", np.zeros((8, 8, 3), np.uint8))
    (card := root / paths.card(W)).parent.mkdir(parents=True)
    card.write_text(DATA_CARD, "utf-8")
    metrics.mkdir(parents=True)
    write_json(metrics / "evaluate.json", METRICS)
    outs = {
        f"train@{W}": [model],
        f"sample@{W}": [samples, plots / "sample"],
        f"evaluate@{W}": [metrics / "evaluate.json"],
    }
    deps: dict[str, list[Path]] = {f"sample@{W}": [model], f"evaluate@{W}": [samples]}

    def entries(found: list[Path]) -> list[dict[str, str]]:
        return [{"path": p.relative_to(root).as_posix(), "md5": dvc_hash(p)} for p in found]

    stages = {
        name: {"deps": entries(deps.get(name, [])), "outs": entries(each)}
        for name, each in outs.items()
    }
    stages[f"train@{W}"]["deps"] = [{"path": f"data/dataset/{W}", "md5": "d" * 32}]
    (root / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}))
    return root


@pytest.fixture
def project(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = Path(shutil.copytree(made, tmp_path / "project"))
    monkeypatch.chdir(root)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    return root


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with loopback_hub.serve() as serving:
        monkeypatch.setattr(constants, "ENDPOINT", serving.url)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield serving


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def one_line(action: Any, *arguments: Any, **options: Any) -> str:
    with pytest.raises(LockstepError) as caught:
        action(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Export


def test_the_folder_has_a_card_with_metrics_and_pictures(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command.export(W, Path("out"))
    said = capsys.readouterr()
    assert said.out.splitlines() == [
        "out: LockstepPipeline",
        "(pipeline.py in it: diffusers has none with patches of 2 pixels, labels)",
    ]
    assert said.err == ""
    card = ModelCard.load(project / "out/README.md")
    about = card.data.to_dict()
    assert about["library_name"] == "diffusers"
    assert about["pipeline_tag"] == "text-to-image"
    assert about["license"] == "unknown"
    results = {each.metric_type: each for each in card.data.eval_results}
    assert {name: each.metric_value for name, each in results.items()} == {
        name: value for name, value in METRICS.items() if not name.endswith("_sd")
    }
    assert results["accuracy_test"].metric_name.startswith("accuracy_test: objects found")
    assert "| `accuracy_test` | 0.7000 ± 0.0200 |" in card.text
    assert "![Generated as requested, in order](images/test.png)" in card.text
    assert (project / "out/images/test.png").is_file()
    assert 'pipe("red, green", generator=' in card.text
    assert 'from_pretrained("out", trust_remote_code=True)' in card.text
    assert f"| data/dataset/{W} in dvc.lock | `{'d' * 32}` |" in card.text
    assert f"dvc repro evaluate@{W}" in card.text
    assert "| `sample.steps` | 20 |" in card.text
    assert "fill in `license`" in card.text
    assert "[data card](data_card.md)" in card.text
    assert (project / "out/data_card.md").read_text("utf-8") == DATA_CARD


def test_the_card_names_the_commit_that_has_this_model(project: Path) -> None:
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c"]
    for arguments in (["init", "-q"], ["add", "dvc.lock"], ["commit", "-qm", "results"]):
        subprocess.run([*git, *arguments], check=True)
    name = subprocess.check_output(["git", "rev-parse", "HEAD"], text=True).strip()
    command.export(W, Path("one"))
    card = Path("one/README.md").read_text()
    assert f"| commit | `{name}` |" in card
    assert f"git checkout {name}\ndvc repro" in card
    with Path("dvc.lock").open("a") as file:
        file.write("# changed\n")
    command.export(W, Path("two"))
    card = Path("two/README.md").read_text()
    assert f"| commit | `{name}, with another dvc.lock` |" in card
    assert "git checkout" not in card


def test_a_licence_may_be_given(project: Path) -> None:
    command.export(W, Path("out"), license="cc-by-4.0")
    card = ModelCard.load(project / "out/README.md")
    assert card.data.license == "cc-by-4.0"
    assert "Licence: cc-by-4.0." in card.text


def test_other_weights_have_no_metrics(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = project / "models" / W
    shutil.copy(model / "ema.safetensors", model / "last.safetensors")
    (project / "dvc.lock").unlink()
    command.export(W, Path("out"), weights="last")
    assert "no metrics: `dvc repro evaluate@iclevr` makes them" in capsys.readouterr().err
    card = ModelCard.load(project / "out/README.md")
    assert not card.data.eval_results
    assert "model-index" not in card.content
    assert "has not been evaluated" in card.text
    assert not (project / "out/images").exists()


@pytest.mark.parametrize(
    "changed", ["metrics/iclevr/evaluate.json", "samples/iclevr/provenance.json"]
)
def test_metrics_of_another_model_are_left_out(
    project: Path, changed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = project / changed
    path.write_text(path.read_text().replace("000", "111").replace("106.2", "1.0"))
    command.export(W, Path("out"))
    assert "the card has no metrics" in capsys.readouterr().err


def test_what_is_not_trained_is_said(project: Path) -> None:
    assert "models/faces: not trained; `dvc repro train@faces`" in one_line(
        command.export, "faces", Path("out")
    )
    assert one_line(command.export, "pets", Path("out")).startswith("unknown workload 'pets'")
    assert not Path("out").exists()


def test_an_outdated_model_is_said(project: Path) -> None:
    lock = yaml.safe_load(Path("dvc.lock").read_text())
    made = {"path": f"data/dataset/{W}", "md5": "e" * 32}
    lock["stages"][f"dataset@{W}"] = {"deps": [], "outs": [made]}
    Path("dvc.lock").write_text(yaml.safe_dump(lock))
    message = one_line(command.export, W, Path("out"))
    assert "outdated, since data/dataset/iclevr was made anew after the training" in message
    assert not Path("out").exists()


def test_a_model_of_other_parameters_is_said(project: Path) -> None:
    path = project / "models" / W / "provenance.json"
    made = json.loads(path.read_text())
    params = load_params(W)
    made["params"] = {"threads": 99, **params.deciding("model", "diffusion", "train")}
    path.write_text(json.dumps(made))
    Path("dvc.lock").unlink()
    command.export(W, Path("same"))
    text = Path("params.yaml").read_text()
    assert text.count("muon_lr: 0.02\n") == 2  # of the noisy classifier too
    Path("params.yaml").write_text(text.replace("muon_lr: 0.02\n", "muon_lr: 0.5\n"))
    message = one_line(command.export, W, Path("out"))
    assert "outdated, since params.yaml has train.muon_lr: 0.5 and it was made with 0.02" in message
    assert f"`dvc repro train@{W}`, or set that back" in message
    assert not Path("out").exists()


def test_another_model_than_dvcs_is_said(project: Path) -> None:
    path = project / "models" / W / "names.json"
    path.write_text(path.read_text() + " ")
    assert "not the model that dvc.lock has" in one_line(command.export, W, Path("out"))


def test_nothing_that_is_there_is_lost(project: Path) -> None:
    Path("full").mkdir()
    Path("full/mine.txt").write_text("mine")
    assert "full: is not empty" in one_line(command.export, W, Path("full"))
    assert "full/mine.txt: is a file" in one_line(command.export, W, Path("full/mine.txt"))
    assert "leads through a file" in one_line(command.export, W, Path("full/mine.txt/out"))
    assert "name too long" in one_line(command.export, W, Path("x" * 300)).lower()
    assert files_of(Path("full")) == {"mine.txt": b"mine"}
    (project / "models" / W / "ema.safetensors").write_bytes(b"damaged")
    Path("dvc.lock").unlink()
    Path("empty").mkdir()
    assert "ema.safetensors: damaged" in one_line(command.export, W, Path("empty"))
    assert not any(Path("empty").iterdir())
    assert not list(project.glob(".*"))


def test_more_steps_than_levels_are_said(project: Path) -> None:
    text = Path("params.yaml").read_text()
    Path("params.yaml").write_text(text.replace("    steps: 20\n", "    steps: 101\n", 1))
    assert "sample.steps: 101 is above the 100 noise levels" in one_line(
        command.export, W, Path("out")
    )


def test_the_hash_is_dvcs(project: Path, tmp_path: Path) -> None:
    folder = tmp_path / "plain" / "a folder"
    for name in ("b/2", "b/10", "b-c/x", "é", "A"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    dvc = [sys.executable, "-m", "dvc"]
    env = {**os.environ, "DVC_NO_ANALYTICS": "1"}
    for arguments in (["init", "--no-scm", "-q"], ["add", "-q", folder.name]):
        subprocess.run([*dvc, *arguments], cwd=folder.parent, env=env, check=True)
    noted = yaml.safe_load((folder.parent / "a folder.dvc").read_text())
    assert dvc_hash(folder) == noted["outs"][0]["md5"]


# Push


def test_a_push_uploads_what_an_export_writes(
    project: Path, hub: Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    command.export(W, Path("cubes"))
    capsys.readouterr()
    push(W, REPO, private=True)
    expected = files_of(Path("cubes"))
    readme = expected.pop("README.md").decode()
    assert hub.files.pop("README.md").decode() == readme.replace('"cubes"', f'"{REPO}"')
    assert hub.files == expected
    assert hub.private is True
    assert hub.messages == [f"lockstep push {W}"]
    assert capsys.readouterr().out.startswith(f"{hub.url}/{REPO}/commit/")


def test_a_dry_run_lists_files_and_asks_nothing(
    project: Path,
    hub: Hub,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    push(W, REPO, dry_run=True)
    lines = capsys.readouterr().out.splitlines()
    sizes = {line.split()[1]: int(line.split()[0].replace(",", "")) for line in lines[:-1]}
    assert {"README.md", "model_index.json", "unet/diffusion_pytorch_model.safetensors"} <= {*sizes}
    assert lines[-1].split()[0] == f"{sum(sizes.values()):,}"
    assert lines[-1].endswith("nothing was uploaded")
    assert hub.calls == []
    assert not list(project.glob("*cubes*"))


def test_no_token_is_said_before_any_work(
    project: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no token"))
    message = one_line(push, W, REPO)
    assert message == f"{hub.url} wants a token: set HF_TOKEN, or run `hf auth login`"
    assert hub.calls == []


@pytest.mark.parametrize(
    ("call", "status", "said", "expected"),
    [
        ("/api/repos/create", 403, "You may not.", "403 You may not.; the token may not write to"),
        ("/preupload/", 404, "Repository not found", "404 Repository not found; there is no"),
        ("/commit/", 400, "Quota\nexceeded", "400 Quota exceeded; run the same command again"),
        ("/objects/", 403, "", "refuses somebody/cubes"),
    ],
)
def test_a_refusal_is_one_line(
    project: Path, hub: Hub, call: str, status: int, said: str, expected: str
) -> None:
    hub.refuses[call] = status, said
    message = one_line(push, W, REPO)
    assert expected in message
    assert hub.files == {}


def test_an_unknown_token_is_said(project: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_another")
    assert "401 Invalid username or password.; it does not know the token" in one_line(
        push, W, REPO
    )


def test_a_hub_out_of_reach_is_said(
    project: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    with loopback_hub.serve() as gone:
        pass
    monkeypatch.setattr(constants, "ENDPOINT", gone.url)
    assert f"{gone.url} cannot be reached" in one_line(push, W, REPO)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "cannot be reached" in one_line(push, W, REPO)


@pytest.mark.parametrize("repo", ["a/b/c", "../x", "", "a b/c", "x" * 200])
def test_a_name_that_cannot_be_is_said(project: Path, hub: Hub, repo: str) -> None:
    assert "give OWNER/NAME" in one_line(push, W, repo)
    assert hub.calls == []


@pytest.mark.long
def test_what_was_pushed_is_loaded_by_its_name(project: Path, hub: Hub, tmp_path: Path) -> None:
    """In a process that knows nothing of this project, its code too comes from the hub."""
    push(W, REPO)
    program = (
        "import sys; sys.modules['lockstep'] = None\n"
        "from diffusers import DiffusionPipeline\n"
        f"pipe = DiffusionPipeline.from_pretrained('{REPO}', trust_remote_code=True)\n"
        "print(type(pipe).__name__, pipe('red, blue').images[0].size)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={
            **{name: os.environ[name] for name in os.environ if not name.startswith("HF_")},
            "HF_ENDPOINT": hub.url,
            "HF_HOME": str(tmp_path / "hub"),
            "PYTHONPATH": "",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "LockstepPipeline (16, 16)\n", done.stderr
