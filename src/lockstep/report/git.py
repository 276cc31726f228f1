"""What git knows of the project in the current folder. Without git there is nothing to know."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Commit:
    """The last commit, and the files that differ from it, new ones included."""

    name: str
    subject: str
    changed: tuple[str, ...]

    @property
    def short(self) -> str:
        return self.name[:10]


def head(apart_from: Path) -> Commit | None:
    """The last commit, None where there is none; `apart_from` is no change, being written now."""
    said = _git("log", "-1", "--no-show-signature", "--format=%H%n%s")
    top = _git("rev-parse", "--show-toplevel")
    listed = _git("status", "--porcelain", "-z", "--no-renames", "--untracked-files=all")
    if said is None or top is None or listed is None:
        return None
    name, _, subject = said.strip().partition("\n")
    root = Path(top.removesuffix("\n"))
    # "XY name": two letters and a space.
    changed = sorted(entry[3:] for entry in listed.split("\0") if entry)
    own = apart_from.resolve()
    return Commit(name, subject, tuple(c for c in changed if (root / c).resolve() != own))


def commit_of(name: str) -> str | None:
    """The hash of a commit, by a name that git has for it, or else by that of an experiment.

    None where there is no such commit, or several experiments have the name.
    """
    found = _git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
    if found is None:
        # DVC keeps an experiment under the hash of the commit that it began from.
        found = _git("for-each-ref", "--format=%(objectname)", f"refs/exps/*/*/{name}") or ""
    hashes = set(found.split())
    return hashes.pop() if len(hashes) == 1 else None


def committed(path: Path, commit: str = "HEAD") -> str | None:
    """A file as a commit has it, by default the last one; None if that has none."""
    return _git("show", f"{commit}:./{path.as_posix()}")


def committed_files(folder: Path, commit: str = "HEAD") -> tuple[Path, ...]:
    """The files and folders right in a folder that a commit has."""
    listed = _git("ls-tree", "-z", "--name-only", commit, f"{folder.as_posix()}/")
    return tuple(Path(name) for name in sorted((listed or "").split("\0")) if name)


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "--no-optional-locks", *arguments], capture_output=True, check=False
        )
    except OSError:  # no git on this machine
        return None
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else None
