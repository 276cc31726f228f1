"""Commands that use a trained model."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from lockstep.cli.places import check_place
from lockstep.core import paths
from lockstep.core.errors import LockstepError

if TYPE_CHECKING:
    from lockstep.sampling.beginning import Edit


def sample(arguments: argparse.Namespace) -> None:
    """Run `lockstep sample`."""
    from lockstep.config.load import load_changed
    from lockstep.core.device import make_deterministic
    from lockstep.core.files import atomic_file
    from lockstep.core.images import grid, write_png
    from lockstep.core.pixels import to_bytes
    from lockstep.sampling.beginning import between
    from lockstep.sampling.conditions import condition_called
    from lockstep.sampling.sample import load, sample

    workload, count = arguments.workload, arguments.count
    if arguments.strength is not None and arguments.image is None:
        raise LockstepError("--strength: says how noisy an image is made; name one by --from")
    if arguments.interpolate is not None and count < 2:
        raise LockstepError(f"--interpolate: --count {count} leaves no way; give 2 or more")
    params = load_changed(
        workload,
        paths.PARAMS,
        sampler=arguments.sampler,
        steps=arguments.steps,
        guidance_scale=arguments.guidance,
        classifier_scale=arguments.classifier_scale,
        weights=arguments.weights,
    )
    settings, model = params.sample, paths.model(workload)
    check_place(arguments.out)
    make_deterministic(params.threads)
    classifier = paths.guiding_classifier(workload, settings.classifier_scale)
    trained = load(model, settings.weights, settings.guidance_weights, classifier)
    levels = trained.description.schedule.timesteps
    if settings.steps > levels:
        raise LockstepError(
            f"sample.steps: {settings.steps} is above the {levels} noise levels of the model in "
            f"{model}; give --steps {levels} or fewer"
        )
    kind = condition_called(trained.description.condition)
    for warning in kind.warnings(model, arguments.text):
        print(warning, file=sys.stderr)
    conditions = kind.read(model, [arguments.text]).expand(count)
    noise_of, edit = None, None
    if (other := arguments.interpolate) is not None:
        noise_of = between(arguments.seed, other, count, trained.description.shape)
    if arguments.image is not None:
        edit = _edit(arguments.image, trained.description.size, arguments.strength)
    images = sample(
        trained, settings, conditions, seed=arguments.seed, noise_of=noise_of, edit=edit
    )
    with atomic_file(arguments.out) as unfinished:
        write_png(unfinished, grid(to_bytes(images), per_row=8))
    print(arguments.out)


def _edit(path: Path, size: int, strength: float | None) -> Edit:
    """The middle square of an image file, as a training image would be made of it."""
    from io import BytesIO

    import numpy as np
    from PIL import Image

    from lockstep.core.decoding import MOST_PIXELS
    from lockstep.core.pixels import to_tensor
    from lockstep.sampling.beginning import Edit
    from lockstep.sources.folders.read import ReadSettings, read_image

    try:
        found = read_image(path.read_bytes(), ReadSettings(size, MOST_PIXELS))
    except OSError as error:
        raise LockstepError(f"{path}: {error.strerror}; name an image file") from None
    if found.broken:
        raise LockstepError(f"{path}: not a readable image ({found.broken})")
    pixels = np.asarray(Image.open(BytesIO(found.png)))
    return Edit(to_tensor(pixels[None])[0], 0.6 if strength is None else strength)


def export(arguments: argparse.Namespace) -> None:
    """Run `lockstep export`."""
    from lockstep.export.command import export

    export(arguments.workload, arguments.folder, arguments.weights, arguments.license)


def push(arguments: argparse.Namespace) -> None:
    """Run `lockstep push`."""
    from lockstep.export.push import push

    push(**{name: value for name, value in vars(arguments).items() if name != "run"})


def app(arguments: argparse.Namespace) -> None:
    """Run `lockstep app`."""
    from lockstep.app.server import serve

    serve(arguments.workload, arguments.host, arguments.port, arguments.model)
