"""Score the drawn pictures, and write the figures into the run of the model that drew them."""

from collections import defaultdict
from statistics import fmean, stdev

import torch
from safetensors.torch import load_file

import this_tree  # noqa: F401
from lockstep import atomic, paths
from lockstep.device import make_deterministic
from lockstep.evaluation import accuracy, classifier
from lockstep.labels import PROMPT_FILES, multi_hot, read_objects, read_prompts
from lockstep.params import Params
from lockstep.pictures import read_pictures, to_tensor
from lockstep.recording import record
from lockstep.stage import run


def main(params: Params) -> None:
    make_deterministic(params.threads)
    labels_folder = paths.dataset(params.workload)
    objects = read_objects(labels_folder / "objects.json")
    judge = classifier.load(paths.judge(params.workload), len(objects))
    samples = paths.samples(params.workload)

    figures: dict[str, list[float]] = defaultdict(list)
    for number, seed in enumerate(params.evaluate.seeds):
        folder = samples if number == 0 else samples / f"seed_{seed}"
        tensors = load_file(folder / "tensors.safetensors")
        for name in PROMPT_FILES:
            prompts = read_prompts(labels_folder / f"{name}.json", objects)
            labels = torch.from_numpy(multi_hot(prompts, objects))
            scores = classifier.scores(judge, tensors[name])
            files = [folder / "images" / name / f"{i}.png" for i in range(len(prompts))]
            from_files = classifier.scores(judge, to_tensor(read_pictures(files)))
            figures[f"accuracy_{name}"].append(accuracy.top_k_accuracy(scores, labels))
            figures[f"accuracy_png_{name}"].append(accuracy.top_k_accuracy(from_files, labels))
            figures[f"exact_match_{name}"].append(accuracy.exact_match(scores, labels))
            figures[f"false_objects_{name}"].append(accuracy.false_objects(scores, labels))
    metrics = {name: fmean(values) for name, values in figures.items()}
    for name in PROMPT_FILES:
        values = figures[f"accuracy_{name}"]
        metrics[f"accuracy_{name}_sd"] = stdev(values) if len(values) > 1 else 0.0
    atomic.write_json(paths.metrics(params.workload, "evaluate"), metrics)
    record(params.workload)


if __name__ == "__main__":
    run(main)
