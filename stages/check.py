"""Read params.yaml whole, for every workload, before any stage deletes an old output.

DVC removes a stage's outputs before it runs the stage. This one runs first and has a constant
output: a mistake in params.yaml ends the run here, and a valid change re-runs nothing else.
"""

import sys

import this_tree  # noqa: F401
from lockstep import atomic, params, paths
from lockstep.stage import reported


def main() -> None:
    for workload in params.WORKLOADS:
        params.load(workload, paths.PARAMS)
    with atomic.file(paths.CHECKED) as temporary:
        temporary.write_text("params.yaml is valid\n", "utf-8")


if __name__ == "__main__":
    sys.exit(reported(main))
