"""Train the generator; killed, the same command goes on from its last checkpoint."""

import this_tree  # noqa: F401
from lockstep import atomic, fingerprint, generator, history, paths, records
from lockstep.dataset import open_dataset
from lockstep.device import resolve_precision
from lockstep.lock import exclusive
from lockstep.params import Params
from lockstep.stage import run
from lockstep.tracking import Tracking
from lockstep.training import loop
from lockstep.training.checkpoint import Checkpoints, remove_finished


def main(params: Params) -> None:
    data = open_dataset(paths.dataset(params.workload))
    precision = resolve_precision(params.train.precision, "train.precision")
    identity = fingerprint.of_training(params, data.digest, precision)
    description = generator.Description(
        unet=params.model.unet(),
        labels=data.conditions.shape[1],
        size=data.pictures.shape[1],
        schedule=params.diffusion.noise_schedule(),
        prediction=params.diffusion.prediction,
        precision=precision,
        fingerprint=identity,
        params={
            **data.params,
            "threads": params.threads,
            **params.values("model", "diffusion", "train"),
        },
    )
    scratch = paths.scratch() / "train"
    checkpoints = Checkpoints(scratch / identity)
    with (
        exclusive(scratch / f"{identity}.lock", "the same training is running"),
        Tracking(params.workload).training(identity, description.params) as log,
    ):
        remove_finished(scratch, but=checkpoints.folder)
        trained = loop.train(params, data, precision, checkpoints, log)
        with atomic.folder(paths.model(params.workload)) as out:
            generator.save(out, description, ema=trained.average, last=trained.model)
        history.write(paths.plots(params.workload, "train"), trained.history)
        with atomic.file(paths.metrics(params.workload, "train")) as file:
            records.write(file, history.summary(trained.history))
        checkpoints.finish()


if __name__ == "__main__":
    run(main)
