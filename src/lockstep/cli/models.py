"""Commands that use a trained model."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from lockstep.cli.places import check_place
from lockstep.core import paths
from lockstep.core.errors import LockstepError


def sample(arguments: argparse.Namespace) -> None:
    """Run `lockstep sample`."""
    from lockstep.config.document import read_yaml
    from lockstep.config.load import parse_params
    from lockstep.core.device import make_deterministic
    from lockstep.core.files import atomic_file
    from lockstep.core.images import grid, write_png
    from lockstep.core.pixels import to_bytes
    from lockstep.sampling.conditions import condition_called
    from lockstep.sampling.sample import load, sample

    workload = arguments.workload
    changes = {
        "steps": arguments.steps,
        "guidance_scale": arguments.guidance,
        "weights": arguments.weights,
    }
    document = read_yaml(paths.PARAMS)
    parse_params(document, workload)  # its mistakes, in its name
    document[workload]["sample"] |= {n: value for n, value in changes.items() if value is not None}
    params = parse_params(document, workload, Path("command line"))
    settings, model = params.sample, paths.model(workload)
    check_place(arguments.out)
    make_deterministic(params.threads)
    trained = load(model, settings.weights)
    levels = trained.description.schedule.timesteps
    if settings.steps > levels:
        raise LockstepError(
            f"sample.steps: {settings.steps} is above the {levels} noise levels of the model in "
            f"{model}; give --steps {levels} or fewer"
        )
    kind = condition_called(trained.description.condition)
    for warning in kind.warnings(model, arguments.text):
        print(warning, file=sys.stderr)
    conditions = kind.read(model, [arguments.text]).expand(arguments.count)
    images = sample(trained, settings, conditions, seed=arguments.seed)
    with atomic_file(arguments.out) as unfinished:
        write_png(unfinished, grid(to_bytes(images), per_row=8))
    print(arguments.out)


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
