"""The network whose eyes measure the workload: trained here, or one that is there already."""

import this_tree  # noqa: F401
from lockstep import atomic, paths, records
from lockstep.device import make_deterministic
from lockstep.evaluation import judges
from lockstep.params import Params
from lockstep.stage import run

MAKE = {
    "iclevr": judges.of_labels,
    "faces": judges.of_faces,
    "anime": judges.of_rotations,
    "captions": judges.of_scenes,
}


def main(params: Params) -> None:
    make_deterministic(params.threads)
    with atomic.folder(paths.judge(params.workload)) as out:
        figures = MAKE[params.workload](params, out)
    records.write(paths.metrics(params.workload, "judge"), figures)


if __name__ == "__main__":
    run(main)
