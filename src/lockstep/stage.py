"""What every stage does at its start and end: arguments, parameters, code, errors of one line."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import NoReturn

from lockstep.config.load import load_params
from lockstep.config.schema import SECTIONS, Params
from lockstep.core import code, contention, nodes, paths, rank
from lockstep.core.errors import LockstepError
from lockstep.core.reports import reported
from lockstep.data import texts
from lockstep.evaluation import evaluators
from lockstep.sampling import conditions
from lockstep.sources import crawlers, downloaders
from lockstep.sources import registry as sources


def run(
    main: Callable[[Params], None],
    processes: Callable[[Params], int] | None = None,
    *,
    on_nodes: bool = False,
) -> NoReturn:
    """Run a stage for the workload named on the command line; exit 1 with one line if it fails.

    With `processes` above 1, or under torchrun, `main` runs in several processes at once; without
    `processes` it is not made for that. With `on_nodes` it also does so on the machines that the
    environment names (`core.nodes`).
    """
    parser = argparse.ArgumentParser(description=sys.modules["__main__"].__doc__)
    parser.add_argument("workload")
    workload = parser.parse_args().workload
    stage = Path(sys.argv[0]).stem

    def begin() -> Params:
        params = load_params(workload, paths.PARAMS)
        check_code(stage, params)
        return params

    def compute(params: Params) -> None:
        with contention.watched(params.threads // rank.size_here()):
            main(params)

    def work() -> None:
        if processes is None:
            if rank.size() > 1:
                raise LockstepError("this stage runs in one process; start it without torchrun")
            compute(begin())
            return
        # Here, not above: it imports torch, which some stages and `check` do without.
        from lockstep.core import distributed

        if rank.launched():
            with distributed.group():
                with distributed.together():
                    params = begin()
                distributed.check_alike(_decided_by(stage, params))
                compute(params)
        elif on_nodes and (several := nodes.of_environment()) is not None:
            several.choose_interface()
            # Only once they have met is the code checked: node 0 may be digesting it right now.
            distributed.launch(processes(load_params(workload, paths.PARAMS)), several)
        else:
            params = begin()
            if processes(params) > 1:
                distributed.launch(processes(params))
            else:
                compute(params)

    sys.exit(reported(work))


def _decided_by(stage: str, params: Params) -> dict[str, str]:
    """What all processes of a stage must have alike: code, parameters, libraries."""
    lines = code_of(stage, params).splitlines()
    return {
        **{module: digest for digest, module in (line.split("  ") for line in lines)},
        **{
            key: repr(value)
            for key, value in params.values(*SECTIONS).items()
            if not key.endswith(".processes")
        },
        **{f"version of {name}": version(name) for name in ("torch", "numpy")},
    }


def code_of(stage: str, params: Params) -> str:
    """A line with the digest of each module that decides a stage's result for a workload."""
    kinds = {
        "lockstep.data.texts": texts.REGISTRY.module(params),
        "lockstep.evaluation.evaluators": evaluators.REGISTRY.module(params),
        "lockstep.sampling.conditions": conditions.REGISTRY.module(params),
        "lockstep.sources.crawlers": crawlers.REGISTRY.module(params),
        "lockstep.sources.downloaders": downloaders.REGISTRY.module(params),
        "lockstep.sources.registry": sources.REGISTRY.module(params),
    }
    leads_to = {registry: [module] for registry, module in kinds.items() if module is not None}
    modules = code.closure([f"stages/{stage}.py", "stages/this_tree.py"], leads_to)
    return "".join(f"{digest}  {module}\n" for module, digest in code.digests(modules).items())


def check_code(stage: str, params: Params) -> None:
    """Whether the code here is the code that `check` digested, on which DVC has decided to run.

    Raises `LockstepError` if it is not: the outputs would be filed under other code than made them.
    """
    path = paths.code(params.workload, stage)
    try:
        digested = path.read_text("utf-8")
    except FileNotFoundError:
        raise LockstepError(
            f"{path}: missing; start the stage with `dvc repro {stage}@{params.workload}`"
        ) from None
    if (now := code_of(stage, params)) != digested:
        changed = set(now.splitlines()) ^ set(digested.splitlines())
        modules = sorted({line.split("  ")[1] for line in changed})
        raise LockstepError(
            f"{modules[0]}: changed since `check` digested it; run `dvc repro` again"
        )
