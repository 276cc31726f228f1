"""What stands on disk after a pipeline, in MLflow: read back, loaded and drawn with."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from PIL import Image

from lockstep.cli import results
from lockstep.core import hashing, paths
from lockstep.core.device import make_deterministic
from lockstep.core.errors import LockstepError
from lockstep.core.files import read_json, write_json
from lockstep.core.images import read_rgb
from lockstep.core.pixels import to_bytes
from lockstep.core.provenance import write_provenance
from lockstep.models import noisy_classifier
from lockstep.models.conditions import Conditions
from lockstep.models.noisy_classifier import Config, LabelClassifier
from lockstep.sampling.preview import Preview
from lockstep.sampling.sample import load, sample
from lockstep.tracking.live import followed
from lockstep.tracking.record import at_the_end, record, record_sweep
from made_up import finished, settings, swept
from tiny import ROOT


@pytest.fixture
def store(empty_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    """Of a checkout in `home`, while the work is done in DVC's copy of it."""
    for name in ("DVC_EXP_NAME", "DVC_STAGE", "DVC_EXP_BASELINE_REV", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    copy = tmp_path / "home/.dvc/tmp/exps/copy"
    copy.mkdir(parents=True)
    shutil.copyfile(empty_store, tmp_path / "home" / "mlflow.db")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "home"))
    monkeypatch.chdir(copy)
    uri = f"sqlite:///{tmp_path / 'home' / 'mlflow.db'}"
    mlflow.set_tracking_uri(uri)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)  # it sets that too
    return MlflowClient(uri)


def runs(store: MlflowClient, kind: str, workload: str = "iclevr") -> list[Run]:
    experiment = store.get_experiment_by_name(workload)
    assert experiment is not None
    return store.search_runs([experiment.experiment_id], f"tags.`lockstep.kind` = '{kind}'")


def drawn(workload: str, labels: list[list[int]], seed: int, first: int = 0) -> np.ndarray:
    trained = load(paths.model(workload), "ema")
    rows = Conditions.of(torch.tensor(labels)) if labels[0] else Conditions.none(len(labels))
    indices = range(first, first + len(labels))
    with torch_set_to(trained.description.params["threads"]):
        drawn = sample(trained, settings().sample, rows, seed=seed, indices=indices)
    return to_bytes(drawn)


@contextmanager
def torch_set_to(threads: int) -> Iterator[None]:
    """As stages set it; sums are split by the number of threads."""
    before, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    make_deterministic(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        torch.use_deterministic_algorithms(strict)


def test_the_registered_model_draws_what_lockstep_sample_draws(store: MlflowClient) -> None:
    finished("iclevr", labels=3)
    record("iclevr")
    model = mlflow.pyfunc.load_model("models:/lockstep-iclevr/1")
    asked = ["red cube, cyan sphere", "blue cylinder", " red cube ,blue cylinder"]
    labels = [[1, 1, 0], [0, 0, 1], [1, 0, 1]]
    with torch_set_to(2):
        given = model.predict(pd.DataFrame({"objects": asked}))
        assert torch.get_num_threads() == 2
    assert given.shape == (3, 16, 16, 3)
    assert given.dtype == np.uint8
    assert np.array_equal(given, drawn("iclevr", labels, seed=0))
    later = model.predict(pd.DataFrame({"objects": asked}), params={"seed": 7})
    assert np.array_equal(later, drawn("iclevr", labels, seed=7))
    assert not np.array_equal(later, given)
    # A seed makes a row independent of its neighbours.
    seeded = model.predict([{"objects": text, "seed": 7} for text in asked[::-1]])
    for image, own in zip(seeded, labels[::-1], strict=True):
        assert np.array_equal(image, drawn("iclevr", [own], seed=7)[0])
    changed = model.predict(pd.DataFrame({"objects": asked}), params={"guidance_scale": 5.0})
    assert not np.array_equal(changed, given)


def test_the_classifier_that_guides_goes_along(store: MlflowClient) -> None:
    description = finished("iclevr", labels=3)
    made = paths.samples("iclevr") / "provenance.json"
    provenance = read_json(made)
    provenance["params"] |= {
        "sample.classifier_scale": 40.0,
        "sample.classifier_interval": [0.1, 1.0],
    }
    write_json(made, provenance)
    folder = paths.noisy_classifier("iclevr")
    torch.manual_seed(0)
    folder.mkdir(parents=True)
    config = Config(3, None, None, (3, 16, 16), 4, description.schedule)
    noisy_classifier.save(LabelClassifier(config), folder)
    write_provenance(folder, {"noisy_classifier.steps": 7})
    provenance["inputs"]["noisy_classifier"] = hashing.sha256(folder)
    write_json(made, provenance)
    record("iclevr")
    (evaluation,) = runs(store, "evaluation", "iclevr")
    assert evaluation.data.params["noisy_classifier.steps"] == "7"
    assert evaluation.data.params["sample.classifier_scale"] == "40.0"
    model = mlflow.pyfunc.load_model("models:/lockstep-iclevr/1")
    with torch_set_to(1):
        given = model.predict(pd.DataFrame({"objects": ["red cube"]}))
        changed = {"classifier_scale": 40.0, "classifier_interval": (0.1, 1.0)}
        guided = dataclasses.replace(settings().sample, **changed)
        trained = load(paths.model("iclevr"), "ema", classifier=folder)
        rows = Conditions.of(torch.tensor([[1, 0, 0]]))
        expected = to_bytes(sample(trained, guided, rows, seed=0))
    assert np.array_equal(given, expected)
    assert not np.array_equal(given, drawn("iclevr", [[1, 0, 0]], seed=0))
    noisy_classifier.save(LabelClassifier(config), folder)
    with pytest.raises(LockstepError, match=r"samples/iclevr: guided by another noisy classifier"):
        record("iclevr")
    # Drawn anew it is another evaluation, and not of the model that MLflow has.
    provenance["inputs"]["noisy_classifier"] = hashing.sha256(folder)
    write_json(made, provenance)
    record("iclevr")
    assert len(runs(store, "evaluation", "iclevr")) == 2


def test_a_model_without_a_condition_draws_by_seed_and_number(store: MlflowClient) -> None:
    finished("faces", labels=0)
    record("faces")
    model = mlflow.pyfunc.load_model("models:/lockstep-faces/1")
    rows = pd.DataFrame({"seed": [4, 9, 4], "number": [2, 0, 3]})
    given = model.predict(rows)
    pair = drawn("faces", [[], []], seed=4, first=2)
    assert np.array_equal(given[[0, 2]], pair)
    assert np.array_equal(given[1], drawn("faces", [[]], seed=9)[0])
    assert "guidance_scale" not in str(model.metadata.signature.params)
    (evaluation,) = runs(store, "evaluation", "faces")
    assert "guidance" not in evaluation.info.run_name


def test_other_weights_that_guide_are_in_the_model_and_in_the_runs_name(
    store: MlflowClient,
) -> None:
    finished("faces", labels=0)
    folder = paths.model("faces")
    shutil.copy(folder / "ema.safetensors", folder / "step_5.safetensors")
    made = paths.samples("faces") / "provenance.json"
    provenance = read_json(made)
    provenance["params"]["sample.guidance_weights"] = 5
    write_json(made, provenance)
    record("faces")
    model = mlflow.pyfunc.load_model("models:/lockstep-faces/1")
    params = {param.name for param in model.metadata.signature.params.params}
    assert params == {"steps", "guidance_scale"}
    rows = pd.DataFrame({"seed": [4]})
    changed = model.predict(rows, params={"guidance_scale": 5.0})
    assert np.array_equal(changed, model.predict(rows))  # the same weights guide nowhere
    (evaluation,) = runs(store, "evaluation", "faces")
    assert "guidance 2" in evaluation.info.run_name


def test_other_prompts_are_another_evaluation(store: MlflowClient) -> None:
    swept(finished("iclevr", labels=3))
    prompts = paths.dataset("iclevr") / "test.json"
    for asked, count in (('[["red cube"]]', 1), ('[["red cube"]]', 1), ('[["cyan sphere"]]', 2)):
        prompts.write_text(asked, "utf-8")
        record("iclevr")
        record_sweep("iclevr")
        assert len(runs(store, "evaluation")) == count
        assert len(runs(store, "sweep")) == count
        assert len(runs(store, "training")) == 1


def test_what_cannot_be_drawn_is_said(store: MlflowClient) -> None:
    finished("iclevr", labels=3)
    record("iclevr")
    model = mlflow.pyfunc.load_model("models:/lockstep-iclevr/1")
    rows = pd.DataFrame({"objects": ["red cube"]})
    with pytest.raises(LockstepError, match="unknown name 'red cone'; choose from red cube"):
        model.predict(pd.DataFrame({"objects": ["red cone"]}))
    with pytest.raises(LockstepError, match="steps: Input should be greater than 0"):
        model.predict(rows, params={"steps": 0})
    with pytest.raises(LockstepError, match="steps: 51 is above 50"):
        model.predict(rows, params={"steps": 51})
    with pytest.raises(MlflowException, match="missing inputs"):
        model.predict(pd.DataFrame({"seed": [0]}))


def test_a_model_is_a_safetensors_file_and_text(store: MlflowClient) -> None:
    finished("iclevr", labels=3)
    record("iclevr")
    folder = Path(mlflow.artifacts.download_artifacts("models:/lockstep-iclevr/1"))
    files = {path.name for path in folder.rglob("*") if path.is_file()}
    assert {"ema.safetensors", "model.json", "names.json", "sample.json"} <= files
    assert "last.safetensors" not in files
    assert not [name for name in files if name.endswith((".pkl", ".pt", ".pickle"))]
    needed = (folder / "requirements.txt").read_text("utf-8")
    assert "torch==" in needed
    assert "+" not in needed


def test_a_training_has_one_version_and_another_training_the_next(store: MlflowClient) -> None:
    for seed in (0, 0, 1):
        description = finished("iclevr", labels=3, seed=seed)
        record("iclevr")
    versions = store.search_model_versions("name = 'lockstep-iclevr'")
    newest = {
        run.data.tags["lockstep.training.fingerprint"]: run for run in runs(store, "training")
    }[description.fingerprint]
    assert sorted(int(version.version) for version in versions) == [1, 2]
    assert {v.run_id for v in versions if int(v.version) == 2} == {newest.info.run_id}


def test_a_model_that_was_cut_off_is_logged_anew(
    store: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished("iclevr", labels=3)

    def away(*_: object, **__: object) -> None:
        raise MlflowException("no space\nin the bucket")

    with monkeypatch.context() as cut:
        cut.setattr(MlflowClient, "log_model_artifacts", away)
        with pytest.raises(LockstepError, match=r"^MLflow at sqlite:.*: no space; is"):
            record("iclevr")
    assert not store.search_model_versions("name = 'lockstep-iclevr'")
    record("iclevr")
    assert len(store.search_model_versions("name = 'lockstep-iclevr'")) == 1
    mlflow.pyfunc.load_model("models:/lockstep-iclevr/1")


@pytest.mark.parametrize("named", [False, True])
def test_the_model_lies_beside_the_store_wherever_the_stage_ran(
    store: MlflowClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: bool
) -> None:
    if named:  # the default store of a database is a folder that is relative
        monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow.get_tracking_uri())
    finished("iclevr", labels=3)
    record("iclevr")
    (found,) = (tmp_path / "home" / "mlartifacts").rglob("MLmodel")
    assert not list(Path.cwd().rglob("MLmodel"))
    assert found.parent.is_relative_to(tmp_path / "home" / "mlartifacts" / "iclevr")


def test_the_registry_looks_nothing_up_where_the_stage_runs(
    store: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow's own functions would, in a file `mlflow.db` of that folder: a process of its own."""
    finished("iclevr", labels=3)
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    code = "import os; from lockstep.tracking.record import record; record('iclevr');"
    code += "assert 'MLFLOW_TRACKING_URI' not in os.environ"
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    (version,) = store.search_model_versions("name = 'lockstep-iclevr'")
    assert not Path("mlflow.db").exists()
    mlflow.pyfunc.load_model(f"models:/lockstep-iclevr/{version.version}")


def test_a_model_whose_files_are_gone_gets_them_again(store: MlflowClient, tmp_path: Path) -> None:
    finished("iclevr", labels=3)
    record("iclevr")
    shutil.rmtree(tmp_path / "home/mlartifacts")
    record("iclevr")
    assert len(store.search_model_versions("name = 'lockstep-iclevr'")) == 1
    mlflow.pyfunc.load_model("models:/lockstep-iclevr/1")


def test_a_training_has_its_data_set_once(store: MlflowClient) -> None:
    finished("iclevr", labels=3)
    out = {"path": "data/dataset/iclevr", "md5": "ab.dir"}
    write_json(Path("dvc.lock"), {"stages": {"dataset@iclevr": {"outs": [out]}}})
    for _ in range(2):
        record("iclevr")
    (run,) = runs(store, "training")
    (found,) = run.inputs.dataset_inputs
    digest = read_json(paths.dataset("iclevr") / "dataset.json")["digest"]
    assert found.dataset.name == "iclevr"
    assert len(found.dataset.digest) >= 12
    assert digest.startswith(found.dataset.digest)
    profile = json.loads(found.dataset.profile)
    assert (profile["images"], profile["train"], profile["validation"]) == (6, 5, 1)
    assert profile["sha256"] == digest
    assert json.loads(found.dataset.source) == {"uri": "data/dataset/iclevr", "dvc_md5": "ab.dir"}
    assert [(tag.key, tag.value) for tag in found.tags] == [("mlflow.data.context", "training")]


def test_the_data_set_has_its_card(store: MlflowClient, tmp_path: Path) -> None:
    finished("iclevr", labels=3)
    collected = paths.collected("iclevr")
    collected.mkdir(parents=True)
    write_provenance(collected, {"dataset.seed": 0})
    for text in ("licence: not said yet", "licence: cc0-1.0"):  # said after the training
        paths.card("iclevr").write_text(text, "utf-8")
        record("iclevr")
        (run,) = runs(store, "training")
        (found,) = run.inputs.dataset_inputs
        tags = {tag.key: tag.value for tag in found.tags}
        assert tags == {"mlflow.data.context": "training", "lockstep.card": "data/card.md"}
        fetched = store.download_artifacts(run.info.run_id, tags["lockstep.card"], str(tmp_path))
        assert Path(fetched).read_text("utf-8") == text


def test_the_card_of_other_images_is_not_the_data_sets(store: MlflowClient) -> None:
    finished("iclevr", labels=3)
    paths.collected("iclevr").mkdir(parents=True)
    paths.card("iclevr").write_text("of others", "utf-8")
    for made in (None, {"source.seed": 7}):
        if made:
            write_provenance(paths.collected("iclevr"), made)
        record("iclevr")
    (run,) = runs(store, "training")
    assert len(run.inputs.dataset_inputs) == 1
    assert not store.list_artifacts(run.info.run_id, "data")


def test_another_data_set_than_the_models_is_not_its_input(store: MlflowClient) -> None:
    finished("iclevr", labels=3)
    write_provenance(paths.dataset("iclevr"), {"dataset.seed": 1})
    record("iclevr")
    (run,) = runs(store, "training")
    assert not run.inputs.dataset_inputs


def test_images_and_metrics_of_an_evaluation_arrive(store: MlflowClient) -> None:
    finished("iclevr", labels=3)
    record("iclevr")
    (training,), (evaluation,) = runs(store, "training"), runs(store, "evaluation")
    for run in (training, evaluation):
        files = {item.path for item in store.list_artifacts(run.info.run_id, "evaluation")}
        assert files == {
            "evaluation/test.png",
            "evaluation/copies.png",
            "evaluation/denoising.gif",
            "evaluation/strips",
        }
        strips = {item.path for item in store.list_artifacts(run.info.run_id, "evaluation/strips")}
        assert strips == {"evaluation/strips/1.png", "evaluation/strips/2.png"}
        found = store.download_artifacts(run.info.run_id, "evaluation/strips/2.png")
        assert (read_rgb(Path(found)) == 2).all()
        with Image.open(
            store.download_artifacts(run.info.run_id, "evaluation/denoising.gif")
        ) as gif:
            assert gif.n_frames == 3
        assert run.data.metrics["swd"] == 12.5
    (version,) = store.search_model_versions("name = 'lockstep-iclevr'")
    (output,) = store.get_run(training.info.run_id).outputs.model_outputs
    assert version.source == f"models:/{output.model_id}"
    model = store.get_logged_model(output.model_id)
    assert [(metric.key, metric.value) for metric in model.metrics] == [("swd", 12.5)]


def test_only_grids_by_step_are_among_the_images_that_mlflow_charts(store: MlflowClient) -> None:
    """Its page gives up all charts of images of a run that has a file of another name there."""
    model = finished("iclevr", labels=3)
    with followed("iclevr", model.fingerprint, model.params) as live:
        live.show(5, Preview(np.zeros((4, 8, 3), np.uint8), ()))
    swept(model)
    record("iclevr")
    record_sweep("iclevr")
    found = {
        run.data.tags["lockstep.kind"]: store.list_artifacts(run.info.run_id, "images")
        for kind in ("training", "evaluation", "sweep")
        for run in runs(store, kind)
    }
    assert {kind: len(files) for kind, files in found.items()} == {
        "training": 2,  # a PNG, and a small copy of it
        "evaluation": 0,
        "sweep": 0,
    }
    for file in found["training"]:
        assert Path(file.path).name.startswith("samples+step+5+timestamp+")


def test_a_sweep_is_a_run_with_a_child_for_each_setting(store: MlflowClient) -> None:
    swept(finished("iclevr", labels=3))
    record("iclevr")
    seconds = {"guidance": [0.1, 0.2], "samplers": [0.3]}
    for given in (seconds, None):  # as in the stage, then as `lockstep track`
        record_sweep("iclevr", given)
    (training,), (sweep,) = runs(store, "training"), runs(store, "sweep")
    assert sweep.info.run_name == "sweep: guidance 1 to 2.5; ddpm in 5 to 5 steps"
    assert sweep.data.tags["mlflow.parentRunId"] == training.info.run_id
    assert sweep.data.metrics == {"best_guidance_scale": 2.5}
    (chart,) = store.list_artifacts(sweep.info.run_id, "sweep")
    assert chart.path == "sweep/guidance.png"
    points = {run.info.run_name: run for run in runs(store, "sweep point")}
    assert {name: run.data.metrics["seconds_per_image"] for name, run in points.items()} == {
        "guidance 1": 0.1,
        "guidance 2.5": 0.2,
        "ddpm, 5 steps": 0.3,
    }
    for run in points.values():
        assert run.data.tags["mlflow.parentRunId"] == sweep.info.run_id
        assert run.data.metrics["fd_classifier"] == 3.0
        assert run.info.status == "FINISHED"
    assert points["guidance 2.5"].data.params["sample.guidance_scale"] == "2.5"
    assert points["ddpm, 5 steps"].data.params["sample.sampler"] == "ddpm"
    assert "best_guidance_scale" not in training.data.metrics


def test_a_sweep_of_captions_has_accuracies_of_its_own(store: MlflowClient) -> None:
    swept(finished("captions", labels=0), workload="captions", name="object_accuracy")
    record_sweep("captions")
    points = runs(store, "sweep point", "captions")
    assert len(points) == 3
    for run in points:
        assert run.data.metrics == {"object_accuracy": 0.25, "fd_classifier": 3.0}


def test_what_an_evaluation_was_made_with_is_a_run_of_its_own(store: MlflowClient) -> None:
    finished("iclevr", labels=3)
    record("iclevr")
    for folder, change in (
        (paths.reference("iclevr"), {"evaluate.reference": "validation"}),
        (paths.tables("iclevr", "evaluate"), {"evaluate.count": 64}),
    ):
        write_provenance(folder, change)
        record("iclevr")
    found = [run.data.params for run in runs(store, "evaluation")]
    assert sorted((p["evaluate.reference"], p["evaluate.count"]) for p in found) == [
        ("train", "null"),
        ("validation", "64"),
        ("validation", "null"),
    ]


def test_a_setting_of_both_tables_is_there_twice(store: MlflowClient) -> None:
    swept(finished("iclevr", labels=3))
    path = paths.tables("iclevr", "sweep") / "provenance.json"
    sweep = read_json(path)
    swept_with = sweep["inputs"]["settings"]
    swept_with["guidance"][0] = swept_with["samplers"][0] = {}
    write_json(path, sweep)
    record_sweep("iclevr")
    assert len(runs(store, "sweep point")) == 3


def test_other_weights_are_another_version_and_other_settings_are_not(
    store: MlflowClient,
) -> None:
    finished("iclevr", labels=3)
    record("iclevr")
    path = paths.samples("iclevr") / "provenance.json"
    sampling = read_json(path)
    for change in ({"sample.guidance_scale": 9.0}, {"sample.weights": "last"}):
        write_json(path, {**sampling, "params": {**sampling["params"], **change}})
        record("iclevr")
    versions = store.search_model_versions("name = 'lockstep-iclevr'")
    models = [store.get_logged_model(v.source.removeprefix("models:/")) for v in versions]
    assert sorted(model.params["weights"] for model in models) == ["ema", "last"]
    assert {model.params["guidance_scale"] for model in models} == {"2.0"}
    # An evaluation with other settings is not the registered model's.
    evaluated = {run.data.params["sample.guidance_scale"]: run for run in runs(store, "evaluation")}
    assert not evaluated["9.0"].inputs.model_inputs
    assert len(runs(store, "training")) == 1


def test_a_registry_that_fails_costs_no_metrics(
    store: MlflowClient, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    finished("iclevr", labels=3)

    def refuses(*_: object, **__: object) -> None:
        raise MlflowException("no right to register")

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "create_model_version", refuses)
        at_the_end(lambda: record("iclevr"))
    assert "no right to register" in (said := capsys.readouterr().err)
    assert "`lockstep track` writes it later" in said
    (evaluation,) = runs(store, "evaluation")
    assert evaluation.data.metrics["swd"] == 12.5
    record("iclevr")
    assert len(store.search_model_versions("name = 'lockstep-iclevr'")) == 1


def test_track_writes_all_that_it_can(
    store: MlflowClient, capsys: pytest.CaptureFixture[str]
) -> None:
    swept(finished("iclevr", labels=3))
    finished("faces", labels=0)
    shutil.copy(ROOT / "params.yaml", "params.yaml")
    path = paths.tables("iclevr", "sweep") / "provenance.json"
    write_json(path, {**read_json(path), "inputs": {**read_json(path)["inputs"], "model": "0"}})
    with pytest.raises(LockstepError, match=r"iclevr: tables/iclevr/sweep: another model's"):
        results.track(argparse.Namespace())
    *found, anime, captions = capsys.readouterr().out.splitlines()
    assert found == ["iclevr: evaluation in MLflow", "faces: evaluation in MLflow"]
    for line, workload in ((anime, "anime"), (captions, "captions")):
        assert line.startswith(f"{workload}: nothing to record; `dvc repro evaluate@{workload}`")
    shutil.rmtree(paths.samples("faces"))
    shutil.rmtree(path.parent)
    results.track(argparse.Namespace())
    assert "faces: nothing to record" in capsys.readouterr().out


def test_track_takes_no_metrics_of_other_images_than_those_here(store: MlflowClient) -> None:
    finished("faces", labels=0)
    shutil.copy(ROOT / "params.yaml", "params.yaml")
    drawn, read = ({"path": "samples/faces", "md5": md5} for md5 in ("new", "old"))
    stages = {"sample@faces": {"outs": [drawn]}, "evaluate@faces": {"deps": [read]}}
    write_json(Path("dvc.lock"), {"stages": stages})
    with pytest.raises(LockstepError) as refused:
        results.track(argparse.Namespace())
    assert str(refused.value) == (
        "faces: samples/faces was made anew since the evaluation; `dvc repro evaluate@faces`"
    )
    assert store.get_experiment_by_name("faces") is None  # nothing of it was written
    write_json(Path("dvc.lock"), {"stages": {**stages, "evaluate@faces": {"deps": [drawn]}}})
    results.track(argparse.Namespace())
    assert runs(store, "evaluation", "faces")


@pytest.mark.parametrize(
    ("path", "content", "said"),
    [
        ("models/iclevr/ema.safetensors", None, "ema.safetensors: missing; `dvc checkout`"),
        ("models/iclevr/names.json", None, "names.json: missing; `dvc checkout`"),
        ("plots/iclevr/train/train.csv", "step,loss\n", "plots/iclevr/train: damaged (IndexError"),
        ("plots/iclevr/train/train.csv", "step,loss,lr\n1\n", "train.csv: damaged (line 2 is too"),
    ],
)
def test_what_is_missing_or_damaged_is_named_and_not_the_store(
    store: MlflowClient, path: str, content: str | None, said: str
) -> None:
    finished("iclevr", labels=3)
    if content is None:
        Path(path).unlink()
    else:
        Path(path).write_text(content)
    with pytest.raises(LockstepError) as refused:
        record("iclevr")
    assert said in str(refused.value) and "MLFLOW" not in str(refused.value)


def test_a_database_without_its_driver_is_one_line(
    store: MlflowClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished("iclevr", labels=3)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://host/runs")
    monkeypatch.setitem(sys.modules, "psycopg", None)
    monkeypatch.setitem(sys.modules, "psycopg2", None)
    with pytest.raises(LockstepError, match=r"^MLflow at postgresql:.*psycopg.*is MLFLOW_TRACK"):
        record("iclevr")


def test_sweeps_of_two_models_do_not_mix(store: MlflowClient) -> None:
    for seed, accuracy in ((0, 0.25), (1, 0.75)):
        swept(finished("iclevr", labels=3, seed=seed), accuracy)
        record_sweep("iclevr")
    assert len(runs(store, "sweep")) == 2
    points = [run for run in runs(store, "sweep point") if run.info.run_name == "guidance 1"]
    assert sorted(run.data.metrics["accuracy_test"] for run in points) == [0.25, 0.75]


def test_another_models_images_are_refused(store: MlflowClient) -> None:
    swept(finished("iclevr", labels=3))
    finished("faces", labels=0)
    for path in (
        paths.samples("faces") / "provenance.json",
        paths.tables("iclevr", "sweep") / "provenance.json",
    ):
        made = read_json(path)
        write_json(path, {**made, "inputs": {**made["inputs"], "model": "0"}})
    with pytest.raises(LockstepError, match="another model's"):
        record("faces")
    with pytest.raises(LockstepError, match="another model's"):
        record_sweep("iclevr")
