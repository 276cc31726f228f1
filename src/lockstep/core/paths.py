"""Where every artefact lives.

Artefacts are relative to the tree that a stage runs in (DVC may run it in a copy of the project);
what is shared between such copies is anchored at `home()`.
"""

import os
from pathlib import Path

PARAMS = Path("params.yaml")
EXCLUDE = Path("exclude.txt")
CODE = Path("data/code")


def home() -> Path:
    """The main checkout: DVC says where it is, also to experiments that run in another folder."""
    return Path(os.environ.get("DVC_ROOT", ".")).resolve()


def from_home(path: Path) -> str:
    """How params.yaml names a file or folder: from the main checkout on if it is in it."""
    whole = path.resolve()
    return str(whole.relative_to(home()) if whole.is_relative_to(home()) else whole)


def folder_or_name(given: str) -> Path | str:
    """A folder of the project's, if it is one; else it is the name of something elsewhere."""
    folder = home() / given
    return folder if folder.is_dir() else given


def scratch() -> Path:
    """What unfinished work has got so far: not an output of any stage, safe to delete."""
    return home() / ".scratch"


def crawled(workload: str) -> Path:
    """What articles say, and the addresses of the images that they name."""
    return Path("data/crawled") / workload


def downloaded(workload: str) -> Path:
    """Images as they came, and the manifest."""
    return Path("data/downloaded") / workload


def collected(workload: str) -> Path:
    """Images, and what is said of them."""
    return Path("data/collected") / workload


def dataset(workload: str) -> Path:
    """The packed arrays, and the label files that sampling and evaluation need."""
    return Path("data/dataset") / workload


def autoencoder(workload: str) -> Path:
    """What makes latents of images."""
    return Path("autoencoders") / workload


def encoded(workload: str) -> Path:
    """The packed images and prompts as a generator sees them, and what made that of them."""
    return Path("data/encoded") / workload


def evaluator(workload: str) -> Path:
    """The evaluator."""
    return Path("evaluators") / workload


def reference(workload: str) -> Path:
    """What generated images are compared with, as networks see it."""
    return Path("data/reference") / workload


def model(workload: str) -> Path:
    """The trained generator."""
    return Path("models") / workload


def samples(workload: str) -> Path:
    """The generated images."""
    return Path("samples") / workload


def metrics(workload: str, stage: str) -> Path:
    """A stage's figures: small, in git."""
    return Path("metrics") / workload / f"{stage}.json"


def plots(workload: str, stage: str) -> Path:
    """A stage's curves and grids, as `dvc plots` shows them."""
    return Path("plots") / workload / stage


def tables(workload: str, stage: str) -> Path:
    """A stage's figures in detail."""
    return Path("tables") / workload / stage


def strips(workload: str) -> Path:
    """Denoising strips, one file an image, and the animation of all."""
    return Path("strips") / workload


def code(workload: str, stage: str) -> Path:
    """The digests of the code that decides a stage's result."""
    return CODE / workload / stage
