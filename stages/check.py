"""Read params.yaml whole and digest the code, before any stage deletes an old output.

DVC removes a stage's outputs before it runs the stage. This one runs first: a mistake in
params.yaml ends the run here. Its output has a file for each workload and stage, with the digests
of the code that decides the stage's result; a valid change of params.yaml, and another wording of
comments, docstrings or errors, leave them all as they are, and so run nothing else again.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # which PYTHONSAFEPATH leaves out

import this_tree  # noqa: F401
from lockstep.config.load import load_all
from lockstep.config.sources import Excluding
from lockstep.core import experiments, paths
from lockstep.core.files import atomic_folder
from lockstep.sources.crawlers import check_crawl
from lockstep.stage import code_of, reported

APART = ("check", "this_tree")


def main() -> None:
    experiments.check_history()
    experiments.warn_of_cache()
    experiments.changed_params()  # so that git sees the change, however the run ends
    everything = load_all(paths.PARAMS)
    stages = sorted(path.stem for path in Path("stages").glob("*.py") if path.stem not in APART)
    with atomic_folder(paths.CODE) as out:
        for workload, params in everything.items():
            check_crawl(params)
            (out / workload).mkdir()
            for stage in stages:
                (out / workload / stage).write_text(code_of(stage, params), "utf-8")
            excludes = isinstance(params.source, Excluding)
            excluded = paths.EXCLUDE.read_bytes() if excludes and paths.EXCLUDE.exists() else b""
            (out / workload / paths.EXCLUDE.name).write_bytes(excluded)


if __name__ == "__main__":
    sys.exit(reported(main))
