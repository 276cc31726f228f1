"""Score the drawn pictures, and write the figures into the run of the model that drew them."""

from collections import defaultdict
from statistics import fmean, stdev

import torch

import this_tree  # noqa: F401
from lockstep import distributed, paths, records
from lockstep.device import make_deterministic
from lockstep.evaluation import accuracy, classifier
from lockstep.labels import PROMPT_FILES, multi_hot, read_objects, read_prompts
from lockstep.params import Params
from lockstep.pictures import read_pictures
from lockstep.pixels import to_tensor
from lockstep.recording import record
from lockstep.stage import run
from lockstep.weights import read_tensors


def main(params: Params) -> None:
    make_deterministic(params.threads)
    folder = paths.dataset(params.workload)
    objects = read_objects(folder / "objects.json")
    judge = classifier.load(paths.judge(params.workload), len(objects))

    figures: dict[str, list[float]] = defaultdict(list)
    for number, seed in enumerate(params.evaluate.seeds):
        drawn = paths.drawn(paths.samples(params.workload), number, seed)
        tensors = read_tensors(drawn / "tensors.safetensors")
        for name in PROMPT_FILES:
            prompts = read_prompts(folder / f"{name}.json", objects)
            labels = torch.from_numpy(multi_hot(prompts, objects))
            scores = classifier.scores(judge, tensors[name])
            files = [drawn / "images" / name / f"{i}.png" for i in range(len(prompts))]
            from_files = classifier.scores(judge, to_tensor(read_pictures(files)))
            figures[f"accuracy_{name}"].append(accuracy.top_k_accuracy(scores, labels))
            figures[f"accuracy_png_{name}"].append(accuracy.top_k_accuracy(from_files, labels))
            figures[f"exact_match_{name}"].append(accuracy.exact_match(scores, labels))
            figures[f"false_objects_{name}"].append(accuracy.false_objects(scores, labels))
    metrics = {name: fmean(values) for name, values in figures.items()}
    for name in PROMPT_FILES:
        values = figures[f"accuracy_{name}"]
        metrics[f"accuracy_{name}_sd"] = stdev(values) if len(values) > 1 else 0.0
    if distributed.is_main():
        records.write(paths.metrics(params.workload, "evaluate"), metrics)
        record(params.workload)


if __name__ == "__main__":
    run(main, processes=lambda params: params.evaluate.processes)
