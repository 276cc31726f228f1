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


# The folders of a workload, by its name.
crawled = Path("data/crawled").joinpath  # what articles say, and the addresses of their images
downloaded = Path("data/downloaded").joinpath  # images as they came, and the manifest
collected = Path("data/collected").joinpath  # images, and what is said of them
dataset = Path("data/dataset").joinpath  # packed arrays, and label files for what comes later
autoencoder = Path("autoencoders").joinpath  # what makes latents of images
encoded = Path("data/encoded").joinpath  # packed images and prompts as a generator sees them
evaluator = Path("evaluators").joinpath
reference = Path("data/reference").joinpath  # what generated images are compared with
model = Path("models").joinpath  # the trained generator
samples = Path("samples").joinpath  # the generated images
strips = Path("strips").joinpath  # denoising strips, one an image, and the animation of all


def metrics(workload: str, stage: str) -> Path:
    """A stage's figures: small, in git."""
    return Path("metrics") / workload / f"{stage}.json"


def plots(workload: str, stage: str) -> Path:
    """A stage's curves and grids, as `dvc plots` shows them."""
    return Path("plots") / workload / stage


def tables(workload: str, stage: str) -> Path:
    """A stage's figures in detail."""
    return Path("tables") / workload / stage


def code(workload: str, stage: str) -> Path:
    """The digests of the code that decides a stage's result."""
    return CODE / workload / stage
