"""Find, judge and cut out the faces of the pictures; killed, the same command goes on."""

import this_tree  # noqa: F401
from lockstep import atomic, fingerprint, paths, records
from lockstep.collect.faces import exclude
from lockstep.collect.faces.collect import collect, what_decides
from lockstep.collect.faces.decide import Rules
from lockstep.collect.faces.judge import Looking
from lockstep.collect.faces.known import truth_of
from lockstep.collect.faces.score import precision_and_recall
from lockstep.collect.journal import journal
from lockstep.collect.names import ORIGIN
from lockstep.lock import exclusive
from lockstep.params import Params
from lockstep.stage import progress, run
from lockstep.workers import cores


def main(params: Params) -> None:
    crop = params.crop
    downloaded = paths.downloaded(params.workload)
    looking = Looking(crop.detector, crop.megapixels, crop.size, params.download.max_pixels)
    rules = Rules(
        min_box=crop.min_box,
        max_slope=crop.max_slope,
        eye_ratio=crop.eye_ratio,
        nose=crop.nose,
        max_outside=crop.max_outside,
        min_sharpness=crop.min_sharpness,
        duplicate_bits=crop.duplicate_bits,
    )
    exclusions = exclude.read(paths.EXCLUDE).of_downloads()
    before = records.read(downloaded / ORIGIN)
    work = fingerprint.of(what_decides(looking))
    scratch = paths.scratch() / "crop"
    with (
        exclusive(scratch / f"{work}.lock", "the same crop is running"),
        journal(scratch / work / "journal.db") as seen,
        atomic.folder(paths.collected(params.workload)) as out,
    ):
        found = collect(
            downloaded,
            out,
            seen,
            looking,
            rules,
            exclusions,
            cores(),
            progress("judge faces", "picture"),
        )
        figures: dict[str, float] = {"kept": found.kept, "found": len(found.faces)}
        truth = truth_of(downloaded, before["origin"])
        if truth is not None:
            figures |= precision_and_recall(found.faces, found.decisions, truth, found.excluded)
        records.write(out / "collected.json", {**before["params"], **params.values("crop")})
    records.write(paths.metrics(params.workload, "crop"), figures)


if __name__ == "__main__":
    run(main)
