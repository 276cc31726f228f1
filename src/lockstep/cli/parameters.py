"""Commands that read and write params.yaml."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lockstep.core import paths
from lockstep.core.errors import LockstepError


def params(arguments: argparse.Namespace) -> None:
    """Run `lockstep params`."""
    import yaml

    from lockstep.config.load import load_params

    params = load_params(arguments.workload)
    print(yaml.safe_dump(params.in_force(), sort_keys=False, default_flow_style=None), end="")


def preset(arguments: argparse.Namespace) -> None:
    """Run `lockstep preset`."""
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
    if stay := _not_committed(given):
        print(
            f"{paths.PARAMS}: not committed, and this preset does not set them, so they hold too: "
            f"{', '.join(stay)}; `git checkout {paths.PARAMS}` takes them back",
            file=sys.stderr,
        )
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


def _not_committed(given: Sequence[str]) -> list[str]:
    """Values of the workloads of a preset that the last commit does not have, by dotted name.

    An experiment leaves its values in params.yaml, those of another preset too.
    """
    import yaml

    from lockstep.config.document import read_yaml
    from lockstep.config.yaml_edit import differing
    from lockstep.report import git

    committed = git.committed(paths.PARAMS)
    if committed is None:
        return []
    try:
        before = yaml.safe_load(committed)
    except yaml.YAMLError:
        return []
    set_now = {flag.removeprefix("++").partition("=")[0] for flag in given}
    workloads = {key.partition(".")[0] for key in set_now if "." in key}
    return [
        name
        for name in differing(read_yaml(paths.PARAMS), before)
        if name not in set_now and name.partition(".")[0] in workloads
    ]


def new(arguments: argparse.Namespace) -> None:
    """Run `lockstep new`."""
    from lockstep.config.document import check_name, read_yaml, workload_names
    from lockstep.config.new import (
        inspect_images,
        inspect_photos,
        is_table,
        section_of,
        section_of_faces,
    )
    from lockstep.core import hashing

    name = arguments.name
    check_name(name)
    document = read_yaml(paths.PARAMS)
    if name in workload_names(document):
        raise LockstepError(f"{paths.PARAMS}: {name} is a workload already; choose another name")
    if is_table(arguments.folder):
        if arguments.faces:
            raise LockstepError(
                f"--faces: is for photographs, and {arguments.folder} is a table of addresses; "
                "leave it out"
            )
        _new_of_table(document, name, arguments.folder, arguments.column, arguments.text)
        return
    for option in ("column", "text"):
        if getattr(arguments, option) is not None:
            raise LockstepError(
                f"--{option}: is for tables, and {arguments.folder} is none; leave it out"
            )
    inspect, section_for = (
        (inspect_photos, section_of_faces) if arguments.faces else (inspect_images, section_of)
    )
    found = inspect(arguments.folder)
    _check_files(arguments.folder, found.condition)
    path = paths.from_home(arguments.folder)
    section = section_for(found, path, hashing.sha256(arguments.folder))
    _write_new(document, name, section)
    said = f", {len(found.classes)} classes" if found.classes else ""
    if found.archives:
        said = f", {found.archives} archives in it"
    _print_new(name, f"{found.count} images{said}", found.condition)


def _new_of_table(
    document: dict[str, Any], name: str, table: Path, column: str | None, text: str | None
) -> None:
    """A workload whose images are downloaded from a table of addresses."""
    from lockstep.config.new import section_of_addresses
    from lockstep.core import hashing
    from lockstep.sources import address_table

    column = address_table.column_of(table, column)
    rows = address_table.addresses(table, column, text, ("--column", "--text"))
    count = sum(bool(row.address and (text is None or row.sentence)) for row in rows)
    if not count:
        lacking = "no address" if text is None else "no address or no sentence"
        raise LockstepError(f"{table}: all of its rows have {lacking}; name other columns")
    digest = hashing.sha256(table)
    section = section_of_addresses(count, paths.from_home(table), digest, column, text)
    _write_new(document, name, section)
    _print_new(name, f"{count} addresses", section["condition"])


def _write_new(document: dict[str, Any], name: str, section: dict[str, Any]) -> None:
    """Add a workload to params.yaml, if it can be."""
    from lockstep.config.load import parse_params
    from lockstep.config.yaml_edit import add_section

    parse_params({**document, "workloads": [*document["workloads"], name], name: section}, name)
    add_section(paths.PARAMS, "workloads", name, section)


def _print_new(name: str, images: str, condition: str) -> None:
    print(f"{name}: {images}, condition: {condition}")
    print(
        f"{paths.PARAMS} has it now; run `dvc repro evaluate@{name}`, then `lockstep report {name}`"
    )


def _check_files(folder: Path, condition: str) -> None:
    """Whether the files that say what images show can be read. Raises `LockstepError` if not."""
    if condition == "prompts":
        from lockstep.sources.captions import forms

        forms.read(folder)
    elif condition == "labels":
        from lockstep.data.labels import read_labels

        read_labels(folder)


def add(arguments: argparse.Namespace) -> None:
    """Run `lockstep add`."""
    from lockstep.config.document import read_yaml, workload_names
    from lockstep.config.yaml_edit import section, set_values
    from lockstep.core import diffusers_folder, hashing

    document = read_yaml(paths.PARAMS)
    names = workload_names(document)
    *sections, name = arguments.key.split(".")
    if name == "source" and len(sections) == 1 and sections[0] in names:
        _add_source(document, sections[0], arguments.path, arguments.faces)
        return
    if arguments.faces:
        raise LockstepError(f"--faces: is for a source, and {arguments.key} is none; leave it out")
    hash_key = ".".join([*sections, f"{name}_sha256"])
    if isinstance(section(document, *sections).get(name), list):
        raise LockstepError(
            f"{paths.PARAMS}: {arguments.key} is no single path; set it with "
            f"`dvc exp run -S '{arguments.key}=[...]'`, or write it there"
        )
    path = arguments.path.resolve()
    if name == "init_from" and path.is_dir():
        diffusers_folder.unet_file(path)
    digest = hashing.sha256(path)
    # A workload may override a shared parameter that its own section does not have yet.
    own = (
        len(sections) == 2
        and sections[0] in names
        and {name, f"{name}_sha256"} <= set(section(document, sections[1]))
    )
    values: dict[str, Any] = {arguments.key: paths.from_home(path), hash_key: digest}
    guide = "noisy_classifier"
    guides = section(document, guide) | section(document, *sections[:1], guide)
    turns_off = sections[1:] == ["text"] and name == "encoder" and guides.get("steps")
    if turns_off:
        values |= {
            f"{sections[0]}.{guide}.steps": 0,
            f"{sections[0]}.sample.classifier_scale": 0.0,
        }
    set_values(paths.PARAMS, values, may_add=own)
    print("\n".join(f"{key}: {value}" for key, value in values.items()))
    if turns_off:
        print(
            "the classifier that guides reads words, which such an encoder does not give: it is "
            f"off now, and {sections[0]}.sample.guidance_scale may have to be higher",
            file=sys.stderr,
        )
    for workload in names:
        if name in section(document, workload, *sections):
            whole = f"{workload}.{arguments.key}"
            command = shlex.join(["lockstep", "add", whole, str(arguments.path)])
            print(f"{workload} has a value of its own, {whole}: `{command}`", file=sys.stderr)


def _add_source(document: dict[str, Any], workload: str, path: Path, faces: bool) -> None:
    """Let a workload's images come from a folder or an archive, whatever they came from before."""
    from lockstep.config.load import parse_params
    from lockstep.config.new import (
        FACES,
        inspect_images,
        inspect_photos,
        is_table,
        section_of,
        section_of_faces,
    )
    from lockstep.config.yaml_edit import set_values
    from lockstep.core import hashing

    if is_table(path):
        raise LockstepError(
            f"{path}: is a table of addresses; `lockstep new NAME {shlex.quote(str(path))}` makes "
            "a workload of it, and `lockstep add NAME.crawl.table` gives such a one another table"
        )
    before, condition = document[workload]["source"], document[workload].get("condition")
    faces = faces or before["type"] == "photos"
    found = inspect_photos(path) if faces else inspect_images(path)
    if found.condition != condition:
        more = " --faces" if faces else ""
        raise LockstepError(
            f"{path}: looks like images with condition {found.condition}, and {workload} has "
            f"{condition}; `lockstep new NAME {shlex.quote(str(path))}{more}` makes one of it"
        )
    _check_files(path, found.condition)
    digest = hashing.sha256(path)
    section = section_of_faces if faces else section_of
    source = section(found, paths.from_home(path), digest)["source"]
    if before["type"] == source["type"]:  # the rules stay as they are
        source = {**before, "paths": source["paths"], "sha256": source["sha256"]}
        changes = {f"{workload}.source.{key}": source[key] for key in ("paths", "sha256")}
    else:
        rules = set(FACES) & set(before) if "detector" in before else {"size"}
        source |= {name: before[name] for name in rules}
        changes = {f"{workload}.source": source}
    parse_params({**document, workload: {**document[workload], "source": source}}, workload)
    set_values(paths.PARAMS, changes)
    print(f"{workload}.source.paths: {source['paths']}\n{workload}.source.sha256: {[digest]}")
