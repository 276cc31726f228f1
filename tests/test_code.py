"""Digests of code: what changes them, and which modules count for which stage."""

from __future__ import annotations

import ast
import dataclasses
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep import stage
from lockstep.config.load import load_all
from lockstep.config.schema import Params
from lockstep.core import code, paths
from lockstep.core.errors import LockstepError

ROOT = Path(__file__).resolve().parent.parent
EVERYTHING = load_all(ROOT / "params.yaml")
STAGES = sorted({path.stem for path in (ROOT / "stages").glob("*.py")} - {"check", "this_tree"})

SOURCE = '''
"""A module."""

LIMIT = 3
NAME = "x"


class Thing:
    """A thing."""

    size: int = 4
    """Its size."""

    def grow(self, by: int = 2) -> int:
        """Grow."""
        if by > LIMIT:
            raise ValueError(f"{by} is above {LIMIT}; " "lower it")
        return self.size + by


def check(text):
    if not text:
        raise KeyError(
            "nothing here: "
            + NAME
        ) from None
    return {"key": text}
'''


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"""A module."""', '"""Another module.\n\nIn detail.\n"""'),
        ('    """A thing."""\n\n', ""),
        ('    """Its size."""\n', ""),
        ('        """Grow."""\n', "        # more than that\n\n"),
        ("LIMIT = 3", "LIMIT = 3  # at most"),
        ("LIMIT = 3\n", "LIMIT = (\n    3\n)\n"),
        ("is above {LIMIT}; ", "is more than {LIMIT + 1}, which is too much; "),
        ('f"{by} is above {LIMIT}; " "lower it"', '"too much"'),
        ('"nothing here: "\n            + NAME', '"empty " + NAME + "!"'),
        ('"nothing here: "\n            + NAME', 'f"""\nnothing\n{NAME}\n"""'),
    ],
)
def test_wording_leaves_the_digest(old: str, new: str) -> None:
    assert old in SOURCE
    assert code.without_texts(SOURCE.replace(old, new)) == code.without_texts(SOURCE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("LIMIT = 3", "LIMIT = 4"),
        ("LIMIT = 3", "LIMIT = 3.0"),
        ("by: int = 2", "by: int = 3"),
        ("size: int = 4", "size: int = 5"),
        ("by > LIMIT", "by >= LIMIT"),
        ("self.size + by", "self.size - by"),
        ("ValueError", "TypeError"),
        ('NAME = "x"', 'NAME = "y"'),
        ('{"key": text}', '{"other": text}'),
        ("if not text:", "if text:"),
    ],
)
def test_what_decides_changes_the_digest(old: str, new: str) -> None:
    assert old in SOURCE
    assert code.without_texts(SOURCE.replace(old, new)) != code.without_texts(SOURCE)


NAMES = st.sampled_from(["a", "b", "c"])
VALUES = st.one_of(st.integers(), st.text(max_size=5), st.booleans()).map(repr)
LINES = st.lists(st.tuples(NAMES, VALUES).map(lambda pair: f"{pair[0]} = {pair[1]}"), min_size=1)
WORDS = st.text(st.characters(codec="ascii", exclude_characters='\\"\r\n\x00\x0c'), max_size=20)


@given(st.lists(st.tuples(NAMES, LINES), min_size=1, max_size=4), st.data())
def test_comments_empty_lines_and_docstrings_leave_any_digest(functions, data) -> None:
    plain, worded = [], []
    for name, lines in functions:
        head = f"def {name}():"
        plain += [head, *(f"    {line}" for line in lines)]
        worded.append(head + f"  # {data.draw(WORDS)}")
        if data.draw(st.booleans()):
            worded.append(f'    """{data.draw(WORDS)}"""')
        for line in lines:
            worded += [""] * data.draw(st.integers(0, 2))
            worded += [f"    # {data.draw(WORDS)}", f"    {line}"]
    before = code.without_texts("\n".join(plain))
    assert code.without_texts("\n".join(worded)) == before
    assert code.without_texts("\n".join([*plain, "    a = 'one more'"])) != before


def modules(name: str, params: Params) -> set[str]:
    """Those that decide a stage's result."""
    return {line.split("  ")[1] for line in stage.code_of(name, params).splitlines()}


@pytest.fixture(autouse=True)
def in_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.fixture(scope="module")
def closures() -> dict[tuple[str, str], set[str]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        return {
            (workload, name): modules(name, params)
            for workload, params in EVERYTHING.items()
            for name in STAGES
        }


def test_every_stage_has_its_script_and_what_it_calls(closures) -> None:
    for (_, name), found in closures.items():
        assert f"stages/{name}.py" in found
        assert not {
            one for one in found if one.startswith(("lockstep.report", "lockstep.tracking"))
        }
    for workload in EVERYTHING:
        train = closures[workload, "train"]
        assert {"lockstep.diffusion.loss", "lockstep.models.unet.backbone"} <= train
        assert "lockstep.training.loop" in train


def test_samplers_decide_what_is_sampled_and_nothing_else(closures) -> None:
    with_samplers = {name for (_, name), found in closures.items() if SAMPLERS in found}
    assert with_samplers == {"sample", "sweep"}


SAMPLERS = "lockstep.diffusion.samplers"


def is_about_captions(module: str) -> bool:
    return module.startswith("lockstep.sources.captions") or module == "lockstep.data.captions"


def test_code_for_captions_decides_nothing_of_workloads_without(closures) -> None:
    for (workload, name), found in closures.items():
        if EVERYTHING[workload].condition != "prompts":
            assert not {one for one in found if is_about_captions(one)}, (workload, name)
    with_prompts = [w for w, params in EVERYTHING.items() if params.condition == "prompts"]
    assert with_prompts
    for workload in with_prompts:
        assert {one for one in closures[workload, "collect"] if is_about_captions(one)}


def test_a_workload_depends_on_its_own_kinds_alone() -> None:
    params = EVERYTHING["iclevr"]
    other = dataclasses.replace(
        params, evaluator=dataclasses.replace(params.evaluator, type="rotation")
    )
    before, after = (modules("evaluator", one) for one in (params, other))
    assert "lockstep.evaluation.evaluators.classifier" in before - after
    assert "lockstep.evaluation.evaluators.rotation" in after - before


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of a few files in place of the real one."""
    root = tmp_path / "lockstep"
    (root / "parts").mkdir(parents=True)
    files = {
        "__init__.py": "",
        "parts/__init__.py": "from lockstep.parts.one import f\nfrom lockstep.parts.two import g\n",
        "parts/one.py": "def f(): pass\n",
        "parts/two.py": "import lockstep.deep\ndef g(): pass\n",
        "deep.py": "",
        "late.py": "def h():\n    from lockstep.parts import g\n    return g\n",
        "typed.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n"
        "    from lockstep.deep import x\nelse:\n    from lockstep.parts import f\n",
    }
    for name, text in files.items():
        (root / name).write_text(text)
    monkeypatch.setattr(code, "_ROOT", root)
    for cached in (code._source, code._digest, code._imports):
        cached.cache_clear()
    yield root
    for cached in (code._source, code._digest, code._imports):
        cached.cache_clear()


@pytest.mark.usefixtures("package")
def test_a_closure_follows_imports_to_where_a_name_is_defined() -> None:
    assert code.closure(["lockstep.late"]) == [
        "lockstep.deep",
        "lockstep.late",
        "lockstep.parts.two",
    ]
    assert code.closure(["lockstep.typed"]) == ["lockstep.parts.one", "lockstep.typed"]
    leads = {"lockstep.deep": ["lockstep.parts.one"]}
    assert "lockstep.parts.one" in code.closure(["lockstep.late"], leads)
    with pytest.raises(FileNotFoundError, match=r"lockstep\.nothing"):
        code.closure(["lockstep.nothing"])


def test_one_changed_module_changes_one_digest(package: Path) -> None:
    before = code.digests(code.closure(["lockstep.late"]))
    total = code.digest_of_code("lockstep.late")
    (package / "deep.py").write_text("X = 1\n")
    for cached in (code._source, code._digest, code._imports):
        cached.cache_clear()
    after = code.digests(code.closure(["lockstep.late"]))
    assert {name for name in before if before[name] != after[name]} == {"lockstep.deep"}
    assert code.digest_of_code("lockstep.late") != total


def test_a_stage_refuses_code_that_check_did_not_digest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = EVERYTHING["iclevr"]
    monkeypatch.setattr(paths, "CODE", tmp_path)
    with pytest.raises(LockstepError) as missing:
        stage.check_code("train", params)
    assert str(missing.value) == (
        f"{tmp_path}/iclevr/train: missing; start the stage with `dvc repro train@iclevr`"
    )
    written = tmp_path / "iclevr" / "train"
    written.parent.mkdir()
    digested = stage.code_of("train", params)
    written.write_text(digested)
    stage.check_code("train", params)
    line = next(one for one in digested.splitlines() if one.endswith("diffusion.loss"))
    written.write_text(digested.replace(line, f"{'0' * 64}  lockstep.diffusion.loss"))
    with pytest.raises(LockstepError) as changed:
        stage.check_code("train", params)
    assert str(changed.value) == (
        "lockstep.diffusion.loss: changed since `check` digested it; run `dvc repro` again"
    )


def test_no_module_is_hidden_from_the_digests_by_a_relative_import() -> None:
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            assert not (isinstance(node, ast.ImportFrom) and node.level), path


@pytest.mark.parametrize("name", ["train", "autoencoder"])
def test_what_follows_from_parameters_is_digested(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    assert "lockstep.config.networks" in modules(name, load_all(ROOT / "params.yaml")["anime"])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("if a:\n    'a note'\n    b()", "if a:\n    b()"),
        ("end(LockstepError(f'lower {x}'))", "end(LockstepError('another text'))"),
        ("try:\n    a()\nfinally:\n    'note'\n    b()", "try:\n    a()\nfinally:\n    b()"),
    ],
)
def test_notes_and_errors_that_are_handed_on_are_words(one: str, other: str) -> None:
    assert code.without_texts(one) == code.without_texts(other)
