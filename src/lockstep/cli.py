"""`lockstep`: what a person does beside `dvc repro`."""

from __future__ import annotations

import argparse
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from lockstep import atomic, content, paths, presets
from lockstep import params as parameters
from lockstep.errors import LockstepError
from lockstep.lock import is_held
from lockstep.params import WORKLOADS
from lockstep.stage import reported

if TYPE_CHECKING:
    from torch import Tensor

    from lockstep.generator import Description


def main() -> None:
    parser = argparse.ArgumentParser(prog="lockstep", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")

    command = commands.add_parser("params", help="print the parameters in force for a workload")
    command.add_argument("workload", choices=WORKLOADS)
    command.set_defaults(run=_params)

    command = commands.add_parser(
        "preset",
        help="print a preset as arguments of `dvc exp run`; without a name, list them",
    )
    # Not checked by argparse: see `_preset`.
    command.add_argument(
        "words", nargs="*", metavar="NAME", help="a preset, and a workload for its part alone"
    )
    command.set_defaults(run=_preset)

    command = commands.add_parser(
        "add", help="bring something from outside in: its path and its hash, into params.yaml"
    )
    command.add_argument("key", help="for example iclevr.source or judge.checkpoint")
    command.add_argument("path", type=Path)
    command.set_defaults(run=_add)

    command = commands.add_parser("fetch", help="get a file that is not the project's own")
    command.add_argument("name", choices=["inception"], help="the network of the FID, 96 MB")
    command.set_defaults(run=_fetch)

    command = commands.add_parser("sample", help="draw pictures with the trained model")
    command.add_argument("workload", choices=WORKLOADS)
    command.add_argument(
        "objects", nargs="?", help='"red cube, cyan sphere", or "a red cube and a cyan sphere"'
    )
    command.add_argument("--count", type=_positive, default=8, help="pictures (default: 8)")
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--steps", type=int, help="default: sample.steps")
    command.add_argument("--guidance", type=float, help="default: sample.guidance_scale")
    command.add_argument("--weights", type=_weights, help="default: sample.weights")
    command.add_argument("--out", type=_png, default=Path("sample.png"), help="a PNG file")
    command.set_defaults(run=_sample)

    command = commands.add_parser("report", help="write all about a workload as one HTML page")
    command.add_argument("workload", choices=WORKLOADS)
    command.add_argument("--out", type=_html, help="default: report/<workload>.html")
    command.set_defaults(run=_report)

    command = commands.add_parser("track", help="write the outputs on disk into MLflow")
    command.set_defaults(run=_track)

    command = commands.add_parser("clean", help="show what unfinished work has left")
    command.add_argument("--force", action="store_true", help="and delete those of no running one")
    command.set_defaults(run=_clean)

    arguments = parser.parse_args()
    sys.exit(reported(lambda: arguments.run(arguments)))


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def _weights(text: str) -> str | int:
    return int(text) if text.isdecimal() else text


def _png(text: str) -> Path:
    if not text.lower().endswith(".png"):
        raise argparse.ArgumentTypeError(f"{text!r} does not end in .png")
    return Path(text)


def _html(text: str) -> Path:
    if not text.lower().endswith(".html"):
        raise argparse.ArgumentTypeError(f"{text!r} does not end in .html")
    return Path(text)


def _params(arguments: argparse.Namespace) -> None:
    from lockstep.report.settings import in_force

    params = parameters.load(arguments.workload, paths.PARAMS)
    print(yaml.safe_dump(in_force(params), sort_keys=False, default_flow_style=None), end="")


def _preset(arguments: argparse.Namespace) -> None:
    if not arguments.words:
        for name in presets.names():
            print(f"{name:12} {presets.load(name).description}")
        return
    try:
        given = _preset_arguments(*arguments.words)
    except (LockstepError, OSError):
        # `dvc exp run $(lockstep preset NAME)` goes on where this fails, and without arguments it
        # would run everything; dvc refuses this one.
        if not sys.stdout.isatty():
            print("--no-such-preset")
        raise
    # No quotes: `$(lockstep preset NAME)` splits at spaces, of which no argument has any.
    print(*given)


def _preset_arguments(name: str, workload: str | None = None, *more: str) -> list[str]:
    if more:
        raise LockstepError(f"{more[0]!r} is too much; give a preset and at most one workload")
    if workload is not None and workload not in WORKLOADS:
        raise LockstepError(f"unknown workload {workload!r}; choose from {', '.join(WORKLOADS)}")
    preset = presets.load(name)
    if workload is not None:
        preset = preset.only(workload)
    written = parameters.read(paths.PARAMS)
    # As it is written first: what is wrong with it is not the preset's.
    for document, path in ((written, paths.PARAMS), (preset.over(written), preset.path)):
        for each in WORKLOADS:
            parameters.parse(document, each, path)
    return preset.arguments()


def _add(arguments: argparse.Namespace) -> None:
    from lockstep.yaml_edit import section, set_values

    document = parameters.read(paths.PARAMS)
    *sections, name = arguments.key.split(".")
    hash_key = ".".join([*sections, f"{name}_sha256"])
    if isinstance(section(document, *sections).get(name), list):
        raise LockstepError(
            f"{paths.PARAMS}: {arguments.key} is no single path; set it with "
            f"`dvc exp run -S '{arguments.key}=[...]'`, or write it there"
        )
    path = arguments.path.resolve()
    digest = content.sha256(path)
    set_values(paths.PARAMS, {arguments.key: str(path), hash_key: digest})
    print(f"{arguments.key}: {path}\n{hash_key}: {digest}")
    for workload in WORKLOADS:
        if name in section(document, workload, *sections):
            whole = f"{workload}.{arguments.key}"
            command = shlex.join(["lockstep", "add", whole, str(arguments.path)])
            print(f"{workload} has a value of its own, {whole}: `{command}`", file=sys.stderr)


def _fetch(arguments: argparse.Namespace) -> None:
    from tqdm import tqdm

    from lockstep import fetch

    path = fetch.cached(arguments.name)
    with tqdm(unit="B", unit_scale=True, desc=arguments.name, mininterval=1) as bar:

        def show(done: int, total: int | None) -> None:
            bar.total = total
            bar.update(done - bar.n)

        fetch.fetch(fetch.FILES[arguments.name], path, show)
    print(path)


def _sample(arguments: argparse.Namespace) -> None:
    # Here, not above: the other commands need none of this, and some of it is slow to import.
    from lockstep.device import make_deterministic
    from lockstep.pictures import grid, write_png
    from lockstep.pixels import to_bytes
    from lockstep.sampling import load, sample

    changes = {
        "steps": arguments.steps,
        "guidance_scale": arguments.guidance,
        "weights": arguments.weights,
    }
    document = parameters.read(paths.PARAMS)
    parameters.parse(document, arguments.workload, paths.PARAMS)  # its mistakes, in its name
    own = document[arguments.workload]
    own["sample"] |= {name: value for name, value in changes.items() if value is not None}
    params = parameters.parse(document, arguments.workload, Path("command line"))
    settings = params.sample
    _check_place(arguments.out)
    make_deterministic(params.threads)
    trained = load(paths.model(arguments.workload), settings.weights)
    levels = trained.description.schedule.timesteps
    if settings.steps > levels:
        raise LockstepError(
            f"sample.steps: {settings.steps} is above the {levels} noise levels of the model in "
            f"{paths.model(arguments.workload)}; give --steps {levels} or fewer"
        )
    asked = _asked(arguments, trained.description)
    conditions = asked.expand(arguments.count, *asked.shape[1:])
    pictures = sample(trained, settings, conditions, seed=arguments.seed)
    with atomic.file(arguments.out) as unfinished:
        write_png(unfinished, grid(to_bytes(pictures), per_row=8))
    print(arguments.out)


def _check_place(out: Path) -> None:
    """Whether a file can be there, before any work is done for it."""
    try:
        if out.is_dir():
            raise LockstepError(f"{out}: is a folder; name a file in it")
        above = next(path for path in out.absolute().parents if path.exists())
    except OSError as error:  # such as a name that is too long
        raise LockstepError(f"{out}: {error.strerror}; name another file") from None
    if not above.is_dir():
        raise LockstepError(f"{above}: is a file, so that {out} cannot be; name another folder")


def _asked(arguments: argparse.Namespace, description: Description) -> Tensor:
    """The condition that was given, as a row for the generator."""
    import torch

    from lockstep import reading
    from lockstep.labels import multi_hot, read_objects

    workload, given = arguments.workload, arguments.objects
    if description.text is not None:
        prompt = given or ""
        for warning in reading.warnings(paths.model(workload), prompt):
            print(warning, file=sys.stderr)
        return reading.rows(paths.model(workload), [prompt])
    if description.labels == 0 and given is None:
        return torch.zeros(1, 0)
    if description.labels == 0:
        raise LockstepError(f"{workload} takes no objects; leave {given!r} out")
    listed = paths.dataset(workload) / "objects.json"
    if not listed.exists():
        raise LockstepError(f"{listed}: missing; `dvc repro dataset@{workload}` makes it")
    objects = read_objects(listed)
    if len(objects) != description.labels:
        raise LockstepError(
            f"{listed} has {len(objects)} objects, and the model {description.labels}: it was "
            f"trained on others; `dvc repro train@{workload}`"
        )
    if given is None:
        raise LockstepError(f"{workload} wants objects, such as {next(iter(objects))!r}; name some")
    names = [name.strip() for name in given.split(",") if name.strip()]
    if unknown := [name for name in names if name not in objects]:
        raise LockstepError(f"unknown object {unknown[0]!r}; choose from {', '.join(objects)}")
    return torch.from_numpy(multi_hot([names], objects)).float()


def _report(arguments: argparse.Namespace) -> None:
    from lockstep.report import page

    out = arguments.out or Path("report") / f"{arguments.workload}.html"
    _check_place(out)
    page.write(arguments.workload, out)
    print(out)


def _track(_: argparse.Namespace) -> None:
    from lockstep import dvc_lock
    from lockstep.recording import record, record_sweep

    lock = dvc_lock.load()
    failed: list[str] = []
    for workload in WORKLOADS:
        parts = (
            ("evaluation", f"evaluate@{workload}", paths.samples(workload), record),
            ("sweep", f"sweep@{workload}", paths.plots(workload, "sweep"), record_sweep),
        )
        found = [(name, target, write) for name, target, made, write in parts if made.exists()]
        if not found:
            print(f"{workload}: nothing to record; `dvc repro evaluate@{workload}` makes it")
        for name, target, write in found:
            try:
                if anew := lock.outdated(target):
                    raise LockstepError(
                        f"{', '.join(anew)} was made anew since the {name}; `dvc repro {target}`"
                    )
                write(workload)
                print(f"{workload}: {name} in MLflow")
            except LockstepError as error:
                failed.append(f"{workload}: {error}")
    if failed:
        raise LockstepError("\nerror: ".join(failed))


def _clean(arguments: argparse.Namespace) -> None:
    found = [path for path in sorted(paths.scratch().glob("*/*")) if path.is_dir()]
    for path in found:
        size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
        running = is_held(path.with_name(f"{path.name}.lock"))
        print(f"{path}  {size / 2**20:.0f} MiB{'  running' if running else ''}")
        if arguments.force and not running:
            shutil.rmtree(path)
    if not found:
        print("nothing is left")


if __name__ == "__main__":
    main()
