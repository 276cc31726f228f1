"""The code as an input of a stage: digests of the modules that decide a result.

A digest is of a module's syntax tree without comments, docstrings and the texts of errors, so
that rewording something runs no stage again. Which modules count is read from the imports, those
inside functions too; a name that a package re-exports leads to the module that defines it. What a
registry of kinds imports by name cannot be read so: whoever asks says where it leads to.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

import lockstep

_ROOT = Path(lockstep.__file__).parent
_NAME = lockstep.__name__
# What only starts, watches, validates or records a stage. Parameters are inputs of their own.
_LEFT_OUT = tuple(
    f"{_NAME}.{name}"
    for name in (
        "config.combinations",
        "config.document",
        "config.fields",
        "config.load",
        "config.schema",
        "config.sources",
        "core.code",
        "core.contention",
        "core.errors",
        "core.executors",
        "core.experiments",
        "core.lock",
        "core.nodes",
        "core.paths",
        "core.reports",
        "report",
        "sampling.preview",
        "stage",
        "tracking",
    )
)


def closure(
    modules: Iterable[str], leads_to: Mapping[str, Iterable[str]] | None = None
) -> list[str]:
    """All modules of the package that these import, and they themselves, in alphabetical order.

    They are given by dotted names, or as paths of scripts. `leads_to` has for a registry the
    modules that count, of all those that it can import. Raises `FileNotFoundError` if one of them
    is not there.
    """
    found: set[str] = set()
    waiting = list(modules)
    while waiting:
        module = waiting.pop()
        if module in found or _is_left_out(module):
            continue
        found.add(module)
        waiting += (leads_to or {}).get(module, ())
        for imported, name in _imports(module):
            waiting += _defining(imported, name)
    return sorted(found)


def digests(modules: Iterable[str]) -> dict[str, str]:
    """The SHA-256 of each module (a dotted name, or the path of a script), by its name."""
    return {module: _digest(module) for module in modules}


def digest_of_code(*modules: str) -> str:
    """One SHA-256 for these modules and all that they import."""
    total = hashlib.sha256()
    for module, digest in digests(closure(modules)).items():
        total.update(f"{module}\0{digest}\n".encode())
    return total.hexdigest()


def without_texts(source: str) -> str:
    """What decides a result: the syntax tree without docstrings and the texts of errors."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        for name in ("body", "orelse", "finalbody"):
            statements = getattr(node, name, None)
            if isinstance(statements, list) and any(map(_is_text, statements)):
                setattr(
                    node, name, [one for one in statements if not _is_text(one)] or [ast.Pass()]
                )
        if isinstance(node, ast.Raise) or (isinstance(node, ast.Call) and _makes_error(node)):
            _blank(node)
    return "".join(_dump(tree))


def _is_text(node: object) -> bool:
    """A docstring, also one that stands below a constant."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


def _makes_error(node: ast.Call) -> bool:
    """Whether a call makes an error: one may be handed on before it is raised."""
    match node.func:
        case ast.Name(name) | ast.Attribute(attr=name):
            return name.endswith(("Error", "Stopped"))
    return False


def _blank(node: ast.AST) -> None:
    """Empty the texts of an error; what stands between the braces of an f-string goes too."""
    for name, value in ast.iter_fields(node):
        if _is_message(value):
            setattr(node, name, ast.Constant(""))
        elif isinstance(value, ast.AST):
            _blank(value)
        elif isinstance(value, list):
            value[:] = [ast.Constant("") if _is_message(one) else one for one in value]
            for one in value:
                if isinstance(one, ast.AST):
                    _blank(one)


def _is_message(node: object) -> bool:
    if isinstance(node, ast.BinOp):  # text + text
        return _is_message(node.left) or _is_message(node.right)
    is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
    return is_text or isinstance(node, ast.JoinedStr)


def _dump(node: object) -> Iterator[str]:
    """Like `ast.dump`, whose output changes with Python's versions."""
    if isinstance(node, ast.AST):
        yield f"{type(node).__name__}("
        for name, value in ast.iter_fields(node):
            if value is not None and value != []:
                yield f"{name}="
                yield from _dump(value)
        yield ")"
    elif isinstance(node, list):
        yield "["
        for one in node:
            yield from _dump(one)
        yield "]"
    else:
        yield f"{node!r},"


def _file(module: str) -> Path | None:
    """Where a module of the package, or a script, is; None for what is no module."""
    if module.endswith(".py"):
        return Path(module)
    path = _ROOT.joinpath(*module.split(".")[1:])
    candidates = (path.with_suffix(".py"), path / "__init__.py")
    return next((found for found in candidates if found.is_file()), None)


@cache
def _source(module: str) -> str:
    path = _file(module)
    if path is None:
        raise FileNotFoundError(module)
    return path.read_text("utf-8")


@cache
def _digest(module: str) -> str:
    return hashlib.sha256(without_texts(_source(module)).encode()).hexdigest()


@cache
def _imports(module: str) -> tuple[tuple[str, str | None], ...]:
    """What a module imports of the package: (module, name), or (module, None) for a whole module.

    Not those for type checkers alone.
    """
    found: list[tuple[str, str | None]] = []
    waiting: list[ast.AST] = [ast.parse(_source(module))]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            waiting += node.orelse
            continue
        if isinstance(node, ast.ImportFrom) and node.level:
            raise ValueError(f"{module} has a relative import; write it out, from {_NAME} on")
        if isinstance(node, ast.ImportFrom) and _is_own(node.module):
            found += [(str(node.module), alias.name) for alias in node.names]
        elif isinstance(node, ast.Import):
            found += [(one.name, None) for one in node.names if _is_own(one.name)]
        waiting += ast.iter_child_nodes(node)
    return tuple(found)


def _is_own(module: str | None) -> bool:
    return module is not None and module.split(".")[0] == _NAME


def _defining(module: str, name: str | None) -> list[str]:
    """The module that an import leads to, through packages that only pass a name on."""
    if name is not None:
        if _file(f"{module}.{name}") is not None:
            return [f"{module}.{name}"]
        path = _file(module)
        if path is not None and path.name == "__init__.py":
            for origin, passed_on in _imports(module):
                if passed_on == name:
                    return _defining(origin, passed_on)
    return [] if module == _NAME else [module]


def _is_left_out(module: str) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in _LEFT_OUT)
