"""Train the generator; killed, the same command goes on from its last checkpoint."""

import sys
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # which PYTHONSAFEPATH leaves out

import this_tree  # noqa: F401
from lockstep.config.schema import Params
from lockstep.core import distributed, hashing, paths, rank
from lockstep.core.device import device, resolve_precision
from lockstep.core.errors import LockstepError
from lockstep.core.files import atomic_folder, write_json
from lockstep.core.lock import exclusive
from lockstep.data.dataset import open_dataset
from lockstep.models import build, generator
from lockstep.models.build import noise_schedule
from lockstep.sampling import preview
from lockstep.stage import run
from lockstep.tracking.live import followed
from lockstep.training import history, loop
from lockstep.training.checkpoint import Checkpoints, remove_finished
from lockstep.training.steps import fingerprint_of, with_steps


def main(params: Params) -> None:
    with distributed.together():
        data = open_dataset(paths.dataset(params.workload), paths.encoded(params.workload))
        if rank.is_first_here():  # once a machine: the others wait for its word
            data.verify()
        params = with_steps(params, len(data.indices("train")))
        if params.train.init_from is not None:
            given = paths.home() / params.train.init_from
            if rank.is_first_here():
                hashing.verify(given, params.train.init_from_sha256, "train.init_from")
        precision = resolve_precision(params.train.precision, "train.precision")
        config = build.generator_config(params, data)
        try:
            schedule = noise_schedule(params.diffusion)
        except ValueError as error:
            raise LockstepError(f"diffusion: {error}") from None
    distributed.check_alike(
        {str(data.folder): data.digest, "train.precision": precision, "device": device().type}
    )
    identity = fingerprint_of(params, data.digest, precision)
    description = generator.Description(
        condition=params.condition,
        unet=config.unet,
        labels=config.labels,
        text=config.text,
        pooled_text=config.pooled_text,
        size=data.images.shape[1],
        reduction=data.reduction,
        schedule=schedule,
        prediction=params.diffusion.prediction,
        precision=precision,
        fingerprint=identity,
        params={
            **data.params,
            "threads": params.threads,
            **params.deciding("model", "diffusion", "train"),
        },
    )
    metrics = paths.metrics(params.workload, "train")
    scratch = paths.scratch() / "train"
    checkpoints = Checkpoints(scratch / identity, params.keep_checkpoints)
    with ExitStack() as stack:
        live = None
        if distributed.is_main():
            lock = scratch / f"{identity}.lock"
            stack.enter_context(exclusive(lock, "the same training is running"))
            live = stack.enter_context(followed(params.workload, identity, description.params))
            remove_finished(scratch, but=checkpoints.folder)

        def show(step: int, model: generator.Generator) -> None:
            images = preview.generate(model, description, params, data)
            if live is not None:
                live.show(step, images)

        def curves(so_far: history.History) -> None:
            """Let `dvc plots show`, `dvc exp show`, and editors with DVC show how it goes on."""
            if distributed.is_main():
                try:
                    history.write(paths.plots(params.workload, "train"), so_far)
                    # A model of before, which DVC would have removed, keeps its metrics.
                    if so_far.train and not paths.model(params.workload).exists():
                        write_json(metrics, history.summary(so_far))
                except OSError as error:  # the last writing, below, is the one that counts
                    print(f"the curves so far are not written: {error}", file=sys.stderr)

        log = None if live is None else live.log
        trained = loop.train(params, data, precision, checkpoints, log, show, curves)
        weights = trained.weights()
        if not distributed.is_main():
            return
        with atomic_folder(paths.model(params.workload)) as out:
            generator.save(out, description, weights)
            checkpoints.copy_weights(loop.kept(params, trained), out)
            generator.copy_tools(paths.encoded(params.workload), out)
        history.write(paths.plots(params.workload, "train"), trained.history)
        write_json(metrics, history.summary(trained.history))
        checkpoints.finish()


if __name__ == "__main__":
    run(main, processes=lambda params: params.train.processes, on_nodes=True)
