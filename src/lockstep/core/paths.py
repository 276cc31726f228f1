"""Where every artefact lives.

Artefacts are relative to the tree that a stage runs in (DVC may run it in a copy of the project);
what is shared between such copies is anchored at `home()`.
"""

import os
from collections.abc import Callable
from pathlib import Path

PARAMS = Path("params.yaml")
EXCLUDE = Path("exclude.txt")
CODE = Path("data/code")
_COPIES = ".dvc/tmp/exps"


def home() -> Path:
    """The main checkout: this folder, or what it is a copy of, where DVC runs an experiment in one.

    DVC says where the main checkout is, but hands on what it finds in its own environment: of
    another project, where one starts the other. So it is believed only of its own copies.
    """
    here = Path.cwd().resolve()
    root = Path(os.environ.get("DVC_ROOT", here)).resolve()
    copies = (root / _COPIES).resolve()
    if not here.is_relative_to(copies):
        return here
    within = here.relative_to(copies).parts
    # Of a project in a folder of DVC's repository the copy is in that folder of the copy.
    below = (root.joinpath(*within[i:]) for i in range(len(within)))
    return next((folder for folder in below if (folder / PARAMS).exists()), root)


def from_home(path: Path) -> str:
    """How params.yaml names a file or folder: from the main checkout on if it is in it."""
    whole, root = path.resolve(), home()
    return str(whole.relative_to(root) if whole.is_relative_to(root) else whole)


def folder_or_name(given: str) -> Path | str:
    """A folder of the project's, if it is one; else it is the name of something elsewhere."""
    folder = home() / given
    return folder if folder.is_dir() else given


def scratch() -> Path:
    """What work goes on from, and rows of sweeps: not an output of any stage, safe to delete."""
    return home() / ".scratch"


def _of_each(folder: str) -> Callable[[str], Path]:
    """Of each workload, by its name, a folder in this one."""
    return lambda workload: Path(folder) / workload


crawled = _of_each("data/crawled")  # what articles say, and the addresses of their images
downloaded = _of_each("data/downloaded")  # images as they came, and the manifest
collected = _of_each("data/collected")  # images, and what is said of them
dataset = _of_each("data/dataset")  # packed arrays, and label files for what comes later
autoencoder = _of_each("autoencoders")  # what makes latents of images
encoded = _of_each("data/encoded")  # packed images and prompts as a generator sees them
noisy_classifier = _of_each("noisy_classifiers")  # what can guide the generator while sampling
evaluator = _of_each("evaluators")
reference = _of_each("data/reference")  # what generated images are compared with
model = _of_each("models")  # the trained generator
samples = _of_each("samples")  # the generated images
strips = _of_each("strips")  # denoising strips, one an image, and the animation of all


def guiding_classifier(workload: str, scale: float) -> Path | None:
    """The noisy classifier, if it is to guide: if `sample.classifier_scale` is not 0."""
    return noisy_classifier(workload) if scale else None


def card(workload: str) -> Path:
    """What is to be known of the collected images, for people who get them."""
    return collected(workload) / "card.md"


def metrics(workload: str, stage: str) -> Path:
    """A stage's metrics: small, in git."""
    return Path("metrics") / workload / f"{stage}.json"


def plots(workload: str, stage: str) -> Path:
    """A stage's curves and grids, as `dvc plots` shows them."""
    return Path("plots") / workload / stage


def tables(workload: str, stage: str) -> Path:
    """A stage's metrics in detail."""
    return Path("tables") / workload / stage


def code(workload: str, stage: str) -> Path:
    """The digests of the code that decides a stage's result."""
    return CODE / workload / stage
