"""Bring a workload's images together, with what is said of them."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # which PYTHONSAFEPATH leaves out

import this_tree  # noqa: F401
from lockstep.config.schema import Params
from lockstep.core import paths
from lockstep.core.files import atomic_folder, write_json
from lockstep.core.provenance import write_provenance
from lockstep.data import shards
from lockstep.sources.cards import card
from lockstep.sources.registry import source_of
from lockstep.stage import run


def main(params: Params) -> None:
    with atomic_folder(paths.collected(params.workload)) as out:
        source = source_of(params)
        found = source.collect(params, out)
        collected = source.read(out)
        shards.pack(collected.images)
        write_provenance(out, found.params)
        card.write(params, out, found, collected)
    write_json(paths.metrics(params.workload, "collect"), dict(found.metrics))


if __name__ == "__main__":
    run(main)
