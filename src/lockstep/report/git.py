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


def committed(path: Path) -> str | None:
    """A file as the last commit has it, None if that has none."""
    return _git("show", f"HEAD:./{path.as_posix()}")


def committed_files(folder: Path) -> tuple[Path, ...]:
    """The files right in a folder that the last commit has."""
    listed = _git("ls-tree", "-z", "--name-only", "HEAD", f"{folder.as_posix()}/")
    return tuple(Path(name) for name in sorted((listed or "").split("\0")) if name)


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "--no-optional-locks", *arguments], capture_output=True, check=False
        )
    except OSError:  # no git on this machine
        return None
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else None
