"""`lockstep`: what a person does beside `dvc repro`."""

# What is slow to import (torch, pandas, MLflow; pydantic too, 0.3 s) is imported by the command
# that needs it.

from __future__ import annotations

import argparse
import io
import os
import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lockstep.core import paths
from lockstep.core.errors import LockstepError
from lockstep.core.reports import reported


def main() -> None:
    # To look for plugins, pydantic reads the metadata of every installed package: 0.08 s.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    parser = argparse.ArgumentParser(prog="lockstep", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")

    command = commands.add_parser("params", help="print the parameters in force for a workload")
    command.add_argument("workload")
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

    command = commands.add_parser("new", help="add a workload of your own images to params.yaml")
    command.add_argument("name", help="what to call it")
    command.add_argument(
        "folder", type=Path, help="images: flat, a sub-folder a class, or with train_info.json"
    )
    command.set_defaults(run=_new)

    command = commands.add_parser(
        "add", help="bring something from outside in: its path and its hash, into params.yaml"
    )
    command.add_argument("key", help="for example iclevr.source or evaluator.checkpoint")
    command.add_argument("path", type=Path)
    command.set_defaults(run=_add)

    command = commands.add_parser("fetch", help="get a file that is not the project's own")
    command.add_argument("name", choices=["inception"], help="the network of the FID, 96 MB")
    command.set_defaults(run=_fetch)

    command = commands.add_parser("sample", help="generate images with the trained model")
    command.add_argument("workload")
    command.add_argument(
        "text",
        nargs="?",
        help='what to show: "red cube, cyan sphere", a class, or "a red cube and a cyan sphere"',
    )
    command.add_argument("--count", type=_positive, default=8, help="images (default: 8)")
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--steps", type=int, help="default: sample.steps")
    command.add_argument("--guidance", type=float, help="default: sample.guidance_scale")
    command.add_argument("--weights", type=_weights, help="default: sample.weights")
    command.add_argument("--out", type=_file(".png"), default=Path("sample.png"), help="a PNG file")
    command.set_defaults(run=_sample)

    command = commands.add_parser("app", help="a page in the browser to play with trained models")
    command.add_argument("workload", nargs="?", help="default: a tab for each")
    command.add_argument(
        "--model", type=Path, action="append", default=[], help="a folder, to compare with"
    )
    command.add_argument("--host", default="127.0.0.1", help="default: 127.0.0.1, this machine")
    command.add_argument("--port", type=_port, default=7860, help="default: 7860; 0: any free one")
    command.set_defaults(run=_app)

    command = commands.add_parser("report", help="write all about a workload as one HTML page")
    command.add_argument("workload")
    command.add_argument("--out", type=_file(".html"), help="default: report/<workload>.html")
    command.set_defaults(run=_report)

    command = commands.add_parser("links", help="list the links to images that a crawl found")
    command.add_argument("workload")
    command.add_argument("--start", metavar="DAY", help="0131, or 2024-01-31; default: the first")
    command.add_argument("--end", metavar="DAY", help="the last day; default: that of the crawl")
    command.add_argument(
        "--format",
        choices=["flat", "csv"],
        default="flat",
        help="flat: addresses as they were written (default); csv: with where and by whom",
    )
    command.add_argument("--out", type=Path, help="a file; default: the terminal")
    command.set_defaults(run=_links)

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


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port, 0 to 65535")
    return int(text)


def _weights(text: str) -> str | int:
    return int(text) if text.isdecimal() else text


def _file(ending: str) -> Callable[[str], Path]:
    def read(text: str) -> Path:
        if not text.lower().endswith(ending):
            raise argparse.ArgumentTypeError(f"{text!r} does not end in {ending}")
        return Path(text)

    return read


def _params(arguments: argparse.Namespace) -> None:
    import yaml

    from lockstep.config.load import load_params

    params = load_params(arguments.workload)
    print(yaml.safe_dump(params.in_force(), sort_keys=False, default_flow_style=None), end="")


def _preset(arguments: argparse.Namespace) -> None:
    from lockstep.config import presets

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
    from lockstep.config import presets
    from lockstep.config.document import read_yaml, workload_names
    from lockstep.config.load import parse_params

    if more:
        raise LockstepError(f"{more[0]!r} is too much; give a preset and at most one workload")
    written = read_yaml(paths.PARAMS)
    names = workload_names(written)
    if workload is not None and workload not in names:
        raise LockstepError(f"unknown workload {workload!r}; choose from {', '.join(names)}")
    preset = presets.load(name)
    if workload is not None:
        preset = preset.only(workload)
    # As it is written first: what is wrong with it is not the preset's.
    for document, path in ((written, paths.PARAMS), (preset.over(written), preset.path)):
        for each in names:
            parse_params(document, each, path)
    return preset.arguments()


def _new(arguments: argparse.Namespace) -> None:
    from lockstep.config.document import check_name, read_yaml, workload_names
    from lockstep.config.load import parse_params
    from lockstep.config.new import inspect_images, section_of
    from lockstep.config.yaml_edit import add_section
    from lockstep.core import hashing

    name = arguments.name
    check_name(name)
    document = read_yaml(paths.PARAMS)
    if name in workload_names(document):
        raise LockstepError(f"{paths.PARAMS}: {name} is a workload already; choose another name")
    found = inspect_images(arguments.folder)
    _check_files(arguments.folder, found.condition)
    path = paths.from_home(arguments.folder)
    section = section_of(found, path, hashing.sha256(arguments.folder))
    # Whether it can be, before anything is written.
    parse_params({**document, "workloads": [*document["workloads"], name], name: section}, name)
    add_section(paths.PARAMS, "workloads", name, section)
    said = f", {len(found.classes)} classes" if found.classes else ""
    print(f"{name}: {found.count} images{said}, condition: {found.condition}")
    print(
        f"{paths.PARAMS} has it now; run `dvc repro evaluate@{name}`, then `lockstep report {name}`"
    )


def _check_files(folder: Path, condition: str) -> None:
    """Whether the files that say what images show can be read. Raises `LockstepError` if not."""
    if condition == "prompts":
        from lockstep.data import captions

        captions.read_train(folder / captions.TRAIN)
        captions.read_test(folder / captions.TEST)
    elif condition == "labels":
        from lockstep.data.labels import read_labels

        read_labels(folder)


def _add(arguments: argparse.Namespace) -> None:
    from lockstep.config.document import read_yaml, workload_names
    from lockstep.config.yaml_edit import section, set_values
    from lockstep.core import hashing

    document = read_yaml(paths.PARAMS)
    names = workload_names(document)
    *sections, name = arguments.key.split(".")
    if name == "source" and len(sections) == 1 and sections[0] in names:
        _add_source(document, sections[0], arguments.path)
        return
    hash_key = ".".join([*sections, f"{name}_sha256"])
    if isinstance(section(document, *sections).get(name), list):
        raise LockstepError(
            f"{paths.PARAMS}: {arguments.key} is no single path; set it with "
            f"`dvc exp run -S '{arguments.key}=[...]'`, or write it there"
        )
    path = arguments.path.resolve()
    digest = hashing.sha256(path)
    # A workload may override a shared parameter that its own section does not have yet.
    own = (
        len(sections) == 2
        and sections[0] in names
        and {name, f"{name}_sha256"} <= set(section(document, sections[1]))
    )
    set_values(paths.PARAMS, {arguments.key: str(path), hash_key: digest}, may_add=own)
    print(f"{arguments.key}: {path}\n{hash_key}: {digest}")
    for workload in names:
        if name in section(document, workload, *sections):
            whole = f"{workload}.{arguments.key}"
            command = shlex.join(["lockstep", "add", whole, str(arguments.path)])
            print(f"{workload} has a value of its own, {whole}: `{command}`", file=sys.stderr)


def _add_source(document: dict[str, Any], workload: str, path: Path) -> None:
    """Let a workload's images come from a folder or an archive, whatever they came from before."""
    from lockstep.config.load import parse_params
    from lockstep.config.new import inspect_images, section_of
    from lockstep.config.yaml_edit import set_values
    from lockstep.core import hashing

    found, condition = inspect_images(path), document[workload].get("condition")
    if found.condition != condition:
        raise LockstepError(
            f"{path}: looks like images with condition {found.condition}, and {workload} has "
            f"{condition}; `lockstep new NAME {shlex.quote(str(path))}` makes a workload of it"
        )
    _check_files(path, found.condition)
    digest = hashing.sha256(path)
    source = section_of(found, paths.from_home(path), digest)["source"]
    before = document[workload]["source"]
    if before["type"] == source["type"]:  # the rules stay as they are
        source = {**before, "paths": source["paths"], "sha256": source["sha256"]}
        changes = {f"{workload}.source.{key}": source[key] for key in ("paths", "sha256")}
    else:
        source["size"] = before["size"]
        changes = {f"{workload}.source": source}
    parse_params({**document, workload: {**document[workload], "source": source}}, workload)
    set_values(paths.PARAMS, changes)
    print(f"{workload}.source.paths: {source['paths']}\n{workload}.source.sha256: {[digest]}")


def _fetch(arguments: argparse.Namespace) -> None:
    from tqdm import tqdm

    from lockstep.core import download

    path = download.cached(arguments.name)
    with tqdm(unit="B", unit_scale=True, desc=arguments.name, mininterval=1) as bar:

        def show(done: int, total: int | None) -> None:
            bar.total = total
            bar.update(done - bar.n)

        download.fetch(download.FILES[arguments.name], path, show)
    print(path)


def _sample(arguments: argparse.Namespace) -> None:
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
    _check_place(arguments.out)
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


def _app(arguments: argparse.Namespace) -> None:
    from lockstep.app.server import serve

    serve(arguments.workload, arguments.host, arguments.port, arguments.model)


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


def _report(arguments: argparse.Namespace) -> None:
    from lockstep.report import page

    out = arguments.out or Path("report") / f"{arguments.workload}.html"
    _check_place(out)
    page.write(arguments.workload, out)
    print(out)


def _links(arguments: argparse.Namespace) -> None:
    from lockstep.config.load import load_params
    from lockstep.core.files import atomic_file
    from lockstep.sources.crawlers import crawler_of
    from lockstep.sources.ptt.export import FORMATS, read_links

    workload, write = arguments.workload, FORMATS[arguments.format]
    if crawler_of(load_params(workload)) is None:
        raise LockstepError(f"{workload}: its source does not crawl, so that there are no links")
    links = read_links(paths.crawled(workload), arguments.start, arguments.end)
    if arguments.out is None:
        lines = io.StringIO()
        write(links, lines)  # all of it first: an error leaves no half of a list
        sys.stdout.buffer.write(lines.getvalue().encode())
        return
    _check_place(arguments.out)
    with atomic_file(arguments.out) as unfinished, unfinished.open("w", encoding="utf-8") as file:
        write(links, file)
    print(arguments.out)


def _track(_: argparse.Namespace) -> None:
    from lockstep.config.document import read_yaml, workload_names
    from lockstep.tracking import dvc_lock
    from lockstep.tracking.record import record, record_sweep

    lock = dvc_lock.load()
    failed: list[str] = []
    for workload in workload_names(read_yaml(paths.PARAMS)):
        parts = (
            ("evaluation", f"evaluate@{workload}", paths.samples(workload), record),
            ("sweep", f"sweep@{workload}", paths.tables(workload, "sweep"), record_sweep),
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
    from lockstep.core.lock import is_held

    found = [path for path in sorted(paths.scratch().glob("*/*")) if path.is_dir()]
    for path in found:
        size = sum(map(_size, path.rglob("*")))
        running = is_held(path.with_name(f"{path.name}.lock"))
        print(f"{path}  {size / 2**20:.0f} MiB{'  running' if running else ''}")
        if arguments.force and not running:
            shutil.rmtree(path, ignore_errors=True)
    if not found:
        print("nothing is left")


def _size(path: Path) -> int:
    """Of a file, in bytes; 0 where a running stage has just taken it away."""
    try:
        return path.stat().st_size if path.is_file() else 0
    except FileNotFoundError:
        return 0


if __name__ == "__main__":
    main()
