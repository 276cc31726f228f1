"""The network whose eyes measure the workload: trained here, or the official checkpoint."""

import this_tree  # noqa: F401
from lockstep import atomic, content, paths, records
from lockstep.dataset import open_dataset
from lockstep.device import make_deterministic, resolve_precision
from lockstep.evaluation import classifier, classifier_training
from lockstep.params import Params
from lockstep.stage import progress, run


def main(params: Params) -> None:
    data = open_dataset(paths.dataset(params.workload))
    labels = data.conditions.shape[1]
    make_deterministic(params.threads)
    if params.judge.checkpoint is not None:
        checkpoint = paths.home() / params.judge.checkpoint
        content.verify(checkpoint, params.judge.checkpoint_sha256, "judge.checkpoint")
        model = classifier.official(checkpoint, labels)
    else:
        precision = resolve_precision(params.judge.precision, "judge.precision")
        bar = progress(f"judge {params.workload}", "step")
        model = classifier_training.train(data, params.judge, precision, bar)
    accuracy = classifier_training.held_out_accuracy(model, data)
    with atomic.folder(paths.judge(params.workload)) as out:
        classifier.save(model, out)
        records.write(out / "judge.json", params.values("judge"))
    metrics = {} if accuracy is None else {"evaluator_accuracy": accuracy}
    records.write(paths.metrics(params.workload, "judge"), metrics)


if __name__ == "__main__":
    run(main)
