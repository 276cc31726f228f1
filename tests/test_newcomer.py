"""A newcomer's first hour: clone, `make demo`, images of one's own, as README.md has it."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from conftest import Project, checkout, commit
from lockstep.config import presets
from lockstep.config.load import read_yaml
from test_new_workloads import COLOURS, SMALL, write_image

pytestmark = [pytest.mark.long, pytest.mark.pipeline]

README = Path(__file__).resolve().parent.parent / "README.md"


def block(heading: str, language: str) -> list[str]:
    """The lines of the first block of code under a heading."""
    found = re.search(
        rf"^{heading}\n.*?```{language}\n(.*?)```", README.read_text("utf-8"), re.S | re.M
    )
    assert found is not None, heading
    return found[1].splitlines()


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A clone of a project that is quick: the heads of the smoke preset, small networks for all."""
    folder = tmp_path_factory.mktemp("newcomer")
    origin = checkout(folder / "origin")
    path = origin.root / "params.yaml"
    document = presets.load("smoke", origin.root / "presets").only("anime").over(read_yaml(path))
    for section, values in SMALL.items():
        document[section].update(values)
    path.write_text(yaml.safe_dump(document, sort_keys=False), "utf-8")
    commit(origin, "quick")
    (line,) = (line for line in block("# Lockstep", "sh") if line.startswith("git clone"))
    clones, entered = line.replace("ADDRESS", str(origin.root)).split(" && ")
    assert entered == "cd lockstep"
    subprocess.run(shlex.split(clones), cwd=folder, check=True)
    return Project(folder / "lockstep")


def test_the_demo_makes_what_it_says(clone: Project) -> None:
    (line,) = (line for line in block("# Lockstep", "sh") if line.startswith("make demo"))
    command = shlex.split(line.split(" #")[0])
    # The environment of the tests takes the place of the one that `make env` would install.
    prefix = sys.prefix
    ours = [f"LOCKSTEP_ENV={prefix}", f"--old-file={prefix}/bin/.complete"]
    done = clone.run(*command, *ours)
    assert re.search(r"Running stage 'sample@anime'", done.stdout)
    (said,) = (line for line in done.stdout.splitlines() if line.startswith("Look at "))
    first, *others = re.findall(r"[\w/]+\.\w+", said)
    beside = Path(first).parent
    for name in (first, *(other if "/" in other else f"{beside}/{other}" for other in others)):
        assert (clone.root / name).stat().st_size > 0, name


def test_ones_own_images_become_a_workload(clone: Project) -> None:
    command, *said = block("## Your own images", "")
    for number in range(120):
        pet, colour = (("cats", "red"), ("dogs", "green"))[number % 2]
        write_image(clone.root / f"pets/{pet}/{number}.png", COLOURS[colour], number)
    arguments = shlex.split(command.removeprefix("$ "))
    assert arguments[0] == "lockstep"
    done = clone.lockstep(*arguments[1:])
    assert done.stdout.splitlines() == said
    evaluate, report = re.findall(r"`([^`]+)`", said[-1])
    path = clone.root / "params.yaml"
    document = read_yaml(path)
    document["pets"]["train"]["steps"] = 20  # nobody looks at these
    document["pets"]["grid_every_steps"] = 10
    document["pets"]["evaluator"]["epochs"] = 2
    path.write_text(yaml.safe_dump(document, sort_keys=False), "utf-8")
    clone.run(*shlex.split(evaluate))
    assert clone.metrics("pets", "evaluate")
    clone.lockstep(*shlex.split(report)[1:])
    assert (clone.root / "report/pets.html").stat().st_size > 0
