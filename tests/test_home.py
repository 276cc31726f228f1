"""Which folder is the main checkout: the one here, or what DVC has copied for an experiment."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lockstep.core import paths
from tiny import ROOT


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One inside another DVC repository."""
    root = tmp_path / "outer/project"
    root.mkdir(parents=True)
    monkeypatch.chdir(root)
    return root


@pytest.mark.parametrize("given", [None, "..", ".", "../elsewhere", ""])
def test_what_dvc_says_of_another_project_is_passed_over(
    project: Path, monkeypatch: pytest.MonkeyPatch, given: str | None
) -> None:
    """A command of that project hands its DVC_ROOT on; DVC lets it stand."""
    if given is None:
        monkeypatch.delenv("DVC_ROOT", raising=False)
    else:
        monkeypatch.setenv("DVC_ROOT", str(project / given) if given else "")
    assert paths.home() == project
    assert paths.scratch() == project / ".scratch"


@pytest.mark.drill(
    "Folders and clones",
    "a stage of another DVC repository runs this project's",
    "nothing lands in the outer one",
)
@pytest.mark.long
def test_dvc_in_dvc(project: Path, tmp_path: Path) -> None:
    """For real: a stage of the outer repository reproduces the inner one."""
    ours = {k: v for k, v in os.environ.items() if not k.startswith(("DVC_", "GIT_"))}
    environment = {
        **ours,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT / "src"),
        "DVC_SITE_CACHE_DIR": str(tmp_path / "site-cache"),
    }
    code = "import os; from lockstep.core import paths; print(os.getenv('DVC_ROOT'), paths.home())"
    commands = {
        project.parent: "cd project && dvc repro > ../said",
        project: f'python -c "{code}"',
    }
    for root, command in commands.items():
        (root / "dvc.yaml").write_text(f"stages:\n  only:\n    cmd: {command}\n")
        subprocess.run(
            ["dvc", "init", "--no-scm", "--quiet"], cwd=root, env=environment, check=True
        )
    subprocess.run(["dvc", "repro", "--quiet"], cwd=project.parent, env=environment, check=True)
    assert f"{project.parent} {project}\n" in (project.parent / "said").read_text("utf-8")


@pytest.mark.parametrize("copy", ["tmpx1", "standalone/tmpx1"])
@pytest.mark.parametrize("root", ["", "pictures"])
def test_a_copy_for_an_experiment_belongs_to_its_project(
    project: Path, monkeypatch: pytest.MonkeyPatch, copy: str, root: str
) -> None:
    """Also where the project is a folder of the repository that DVC keeps."""
    (project / root).mkdir(exist_ok=True)
    (project / root / "params.yaml").touch()
    here = project / ".dvc/tmp/exps" / copy / root
    here.mkdir(parents=True)
    (here / "params.yaml").touch()
    monkeypatch.chdir(here)
    monkeypatch.setenv("DVC_ROOT", str(project))
    assert paths.home() == project / root


@pytest.mark.drill(
    "Folders and clones",
    "DVC's folder of experiments is a symbolic link",
    "runs and caches go to the project",
)
def test_a_link_on_the_way_changes_nothing(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies = tmp_path / "scratch disk"
    (copies / "tmpx1").mkdir(parents=True)
    (project / ".dvc/tmp").mkdir(parents=True)
    (project / ".dvc/tmp/exps").symlink_to(copies)
    (tmp_path / "link").symlink_to(project)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "link"))
    monkeypatch.chdir(project / ".dvc/tmp/exps/tmpx1")
    assert paths.home() == project


def test_what_is_named_in_params_yaml_moves_with_the_project(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_ROOT", str(project.parent))
    assert paths.from_home(Path("pets")) == "pets"
    assert paths.from_home(project.parent / "pets") == str(project.parent / "pets")
