"""`lockstep`: what a person does beside `dvc repro`."""

# What is slow to import (torch, pandas, MLflow; pydantic too, 0.3 s) is imported by the command
# that needs it.

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Callable
from pathlib import Path

from lockstep.cli import models, parameters, places, results
from lockstep.core.reports import reported


def main() -> None:
    # To look for plugins, pydantic reads the metadata of every installed package: 0.08 s.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    parser = argparse.ArgumentParser(prog="lockstep", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")

    command = commands.add_parser("params", help="print the parameters in force for a workload")
    command.add_argument("workload")
    command.set_defaults(run=parameters.params)

    command = commands.add_parser(
        "preset",
        help="print a preset as arguments of `dvc exp run`; without a name, list them",
    )
    # Not checked by argparse: see `parameters.preset`.
    command.add_argument(
        "words", nargs="*", metavar="NAME", help="a preset, and a workload for its part alone"
    )
    command.set_defaults(run=parameters.preset)

    command = commands.add_parser("new", help="add a workload of your own images to params.yaml")
    command.add_argument("name", help="what to call it")
    command.add_argument(
        "folder",
        type=_given_path,
        help="images: flat, a sub-folder a class, or with sentences; Parquet; a table of addresses",
    )
    command.add_argument("--faces", action="store_true", help="cut faces out of photographs")
    command.add_argument("--column", help="of a table: which one has the addresses (default: url)")
    command.add_argument("--text", help="of a table: which one has a sentence for each image")
    command.set_defaults(run=parameters.new)

    command = commands.add_parser(
        "add", help="bring something from outside in: its path and its hash, into params.yaml"
    )
    command.add_argument("key", help="for example iclevr.source or evaluator.checkpoint")
    command.add_argument("path", type=_given_path)
    command.add_argument(
        "--faces", action="store_true", help="of a source: cut faces out of the photographs there"
    )
    command.set_defaults(run=parameters.add)

    command = commands.add_parser("fetch", help="get a file that is not the project's own")
    command.add_argument("name", choices=["inception"], help="the network of the FID, 96 MB")
    command.set_defaults(run=places.fetch)

    command = commands.add_parser("sample", help="generate images with the trained model")
    command.add_argument("workload")
    command.add_argument(
        "text",
        nargs="?",
        help='what to show: "red cube, cyan sphere", a class, or "a red cube and a cyan sphere"',
    )
    command.add_argument("--count", type=_positive, default=8, help="images (default: 8)")
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--sampler", help="default: sample.sampler")
    command.add_argument("--steps", type=int, help="default: sample.steps")
    command.add_argument("--guidance", type=float, help="default: sample.guidance_scale")
    command.add_argument(
        "--classifier-scale", type=float, help="default: sample.classifier_scale; 0: no classifier"
    )
    command.add_argument("--weights", type=_weights, help="default: sample.weights")
    command.add_argument(
        "--from", dest="image", type=Path, metavar="IMAGE", help="begin from this image and noise"
    )
    command.add_argument(
        "--strength", type=_share, help="how noisy it is made, above 0 to 1 (default: 0.6)"
    )
    command.add_argument(
        "--interpolate",
        type=int,
        metavar="SEED",
        help="the way from the noise of --seed to that of this seed, in --count images",
    )
    command.add_argument("--out", type=_file(".png"), default=Path("sample.png"), help="a PNG file")
    command.set_defaults(run=models.sample)

    export = commands.add_parser("export", help="write the trained model for diffusers")
    push = commands.add_parser("push", help="the same as a repository of a hub")
    for command, run in ((export, models.export), (push, models.push)):
        command.set_defaults(run=run)
        command.add_argument("workload")
        command.add_argument("--weights", type=_weights, help="default: sample.weights")
        command.add_argument("--license", help="for the model card, such as cc-by-4.0")
    export.add_argument("folder", type=Path, help="a new or empty one")
    push.add_argument("repo", metavar="OWNER/NAME")
    push.add_argument("--private", action="store_true", help="if it is a new repository")
    push.add_argument("--dry-run", action="store_true", help="list files and sizes instead")

    command = commands.add_parser("app", help="a page in the browser to play with trained models")
    command.add_argument("workload", nargs="?", help="default: a tab for each")
    command.add_argument(
        "--model", type=Path, action="append", default=[], help="a folder, to compare with"
    )
    command.add_argument("--host", default="127.0.0.1", help="default: 127.0.0.1, this machine")
    command.add_argument("--port", type=_port, default=7860, help="default: 7860; 0: any free one")
    command.set_defaults(run=models.app)

    command = commands.add_parser("report", help="write all about a workload as one HTML page")
    command.add_argument("workload")
    command.add_argument("--out", type=_file(".html"), help="default: report/<workload>.html")
    command.set_defaults(run=results.report)

    command = commands.add_parser(
        "compare", help="say which metrics differ by more than twice their standard error"
    )
    command.add_argument("one", metavar="A", help="a commit or an experiment, by any name")
    command.add_argument("other", metavar="B", nargs="?", help="another; default: what is on disk")
    command.add_argument("--workload", help="default: all")
    command.add_argument("--all", action="store_true", help="list all that differ")
    command.set_defaults(run=results.compare)

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
    command.set_defaults(run=results.links)

    command = commands.add_parser("track", help="write the outputs on disk into MLflow")
    command.set_defaults(run=results.track)

    command = commands.add_parser("clean", help="show what is kept to continue work")
    command.add_argument("--force", action="store_true", help="and delete those of no running one")
    command.set_defaults(run=places.clean)

    arguments = parser.parse_args()
    sys.exit(reported(lambda: arguments.run(arguments)))


def _given_path(text: str) -> Path:
    """One that params.yaml can have."""
    if not text:  # of a shell variable that is not set; `Path` takes it for the current folder
        raise argparse.ArgumentTypeError("is empty; name a file or folder")
    if not text.isascii() and "utf" not in sys.getfilesystemencoding():
        raise argparse.ArgumentTypeError(
            f"{text!r} is not ASCII, and this locale is not UTF-8; set PYTHONUTF8=1"
        )
    if any(0xD800 <= ord(letter) < 0xE000 for letter in text):
        raise argparse.ArgumentTypeError(f"{text!r} is not UTF-8; rename it")
    return Path(text)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0 and up to 1")
    return value


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
