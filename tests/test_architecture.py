"""The house's plan: imports run one way, and what each room may import at all."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from lockstep.config.document import read_yaml

ROOT = Path(__file__).resolve().parent.parent
SRC = ROOT / "src" / "lockstep"
FILES = sorted(SRC.rglob("*.py"))
# A room imports those of lower levels, and itself.
LEVELS = (
    ("core",),
    ("config", "diffusion"),
    ("data", "models"),
    ("sampling", "training", "synthetic"),
    ("tracking", "evaluation", "sources"),
    ("report",),
    ("export", "app"),
    ("stage", "cli"),
)
LEVEL = {room: level for level, rooms in enumerate(LEVELS) for room in rooms}
# Between rooms of one level.
ALLOWED = {
    # Latents and encoded texts are a data set's, and networks make them.
    "data/encode.py": {"models"},
    "data/prompts.py": {"models"},
    # The shape of a network follows from the data set that it is trained on.
    "models/build.py": {"data"},
}


def imports(path: Path) -> set[str]:
    """The dotted names of all modules that a file imports, also inside functions."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "lockstep":
            found |= {f"lockstep.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


def room_of(path: Path) -> str:
    return path.relative_to(SRC).parts[0].removesuffix(".py")


def test_imports_run_one_way() -> None:
    upwards = []
    for path in FILES:
        if path == SRC / "__init__.py":
            continue
        room, name = room_of(path), path.relative_to(SRC).as_posix()
        for module in imports(path):
            if not module.startswith("lockstep."):
                continue
            other = module.split(".")[1]
            if other == room or LEVEL[other] < LEVEL[room]:
                continue
            if LEVEL[other] > LEVEL[room] or other not in ALLOWED.get(name, ()):
                upwards.append(f"{name} imports {module}")
    assert not upwards


@pytest.mark.parametrize(
    ("room", "allowed"),
    [
        ("diffusion", {"torch", "lockstep.diffusion"}),
        ("models/unet", {"torch", "lockstep.models.unet", "lockstep.config.networks"}),
    ],
)
def test_what_is_proven_against_diffusers_imports_torch_alone(room: str, allowed: set[str]) -> None:
    for path in (SRC / room).rglob("*.py"):
        for module in imports(path):
            known = module.split(".")[0] in sys.stdlib_module_names or any(
                module == name or module.startswith(f"{name}.") for name in allowed
            )
            assert known, f"{path} imports {module}"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["preset"],
        ["preset", "smoke"],
        ["params", "iclevr"],
        ["clean"],
        ["add", "evaluator.colour", "params.yaml"],
        ["new", "pets", "presets"],
    ],
    ids=" ".join,
)
def test_a_quick_command_imports_nothing_slow(arguments: list[str], tmp_path: Path) -> None:
    for name in ("params.yaml", "presets"):
        (tmp_path / name).symlink_to(ROOT / name)
    code = (
        "import sys; from lockstep import cli\n"
        "try: cli.main()\n"
        "except SystemExit: pass\n"
        "slow = {'torch', 'numpy', 'mlflow', 'pandas', 'dvc', 'PIL', 'scipy'} & set(sys.modules)\n"
        "print('slow:', sorted(slow))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT / "src"), "PATH": ""},
        text=True,
        capture_output=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "slow: []", done.stderr


# Where a text equal to a workload's name is something else.
OTHER_MEANINGS = {
    ("sources/iclevr.py", "iclevr"),  # the folder in the official archive
    ("sources/faces/collect.py", "faces"),  # the folder for unfinished work on faces
    ("sources/outcomes.py", "faces"),  # what is counted
}


def test_no_workload_is_wired_in_by_name() -> None:
    names = set(read_yaml(ROOT / "params.yaml")["workloads"])
    found = {
        (path.relative_to(SRC if path.is_relative_to(SRC) else ROOT).as_posix(), node.value)
        for path in (*FILES, *(ROOT / "stages").glob("*.py"))
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in names
    }
    assert found <= OTHER_MEANINGS


def test_no_file_is_long() -> None:
    lines = {path.relative_to(SRC).as_posix(): len(path.read_text().splitlines()) for path in FILES}
    assert not {name: count for name, count in lines.items() if count > 450}


def test_what_a_message_says_to_install_can_be_installed() -> None:
    """Lockstep is on no index: its extras are those of the clone, in which its commands run."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    named: set[str] = set()
    for path in (ROOT / "src").rglob("*.py"):
        for command in re.findall(r"pip install ([^`\"]*)", path.read_text("utf-8")):
            assert "lockstep" not in command, path
            named |= set(re.findall(r"\.\[(\w+)\]", command))
            files = re.findall(r"-r (\S+)", command)
            assert all((ROOT / file).exists() for file in files), path
    assert named == {"pretrained"} <= extras.keys()
