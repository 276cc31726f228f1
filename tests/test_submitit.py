"""The script of docs/training.md that submits a training, without Slurm: two nodes on loopback."""

import re
import sys
from pathlib import Path

import pytest
import yaml

from conftest import REPOSITORY, Project, copied

pytest.importorskip("submitit", reason="submitit is not installed: requirements-slurm.lock")


@pytest.mark.long
@pytest.mark.pipeline
def test_the_script_trains_on_two_nodes(finished: Project, tmp_path: Path, port: int) -> None:
    page = (REPOSITORY / "docs" / "training.md").read_text("utf-8")
    (script,) = (
        block for block in re.findall(r"```python\n(.*?)```", page, re.S) if "submitit" in block
    )
    project = copied(finished, tmp_path / "project")
    (project.root / "submit.py").write_text(script, "utf-8")
    params = project.root / "params.yaml"
    document = yaml.safe_load(params.read_text("utf-8"))
    document["iclevr"]["train"]["lr"] = 0.002  # or there would be nothing to train
    params.write_text(yaml.safe_dump(document, sort_keys=False), "utf-8")
    place = f"LOCKSTEP_RDZV=127.0.0.1:{port}"
    done = project.run("env", place, sys.executable, "submit.py", "iclevr")
    logs = {
        rank: (project.root / "submitit" / f"{done.stdout.strip()}_{rank}_log.out").read_text()
        for rank in (0, 1)
    }
    assert "Running stage 'train@iclevr'" in logs[0]
    assert "Running stage" not in logs[1]
    assert all("Job completed successfully" in log for log in logs.values())
    assert "up to date" in project.dvc("repro", "train@iclevr").stdout
