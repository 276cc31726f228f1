from __future__ import annotations

import copy
import json
import re
import shutil
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from lockstep.config.document import SHARED_NAMES, _Loader, read_yaml
from lockstep.config.load import load_all, load_changed, load_params, parse_params
from lockstep.config.schema import SECTIONS
from lockstep.config.sources import Rendered
from lockstep.core.cpus import available_cores
from lockstep.core.errors import LockstepError
from lockstep.training.steps import with_steps

ROOT = Path(__file__).resolve().parent.parent
COMMITTED = ROOT / "params.yaml"
WORKLOADS = read_yaml(COMMITTED)["workloads"]


def changed(**values: object) -> dict:
    """The committed document with dotted keys (`__` for the dot) set."""
    document = copy.deepcopy(read_yaml(COMMITTED))
    for key, value in values.items():
        *sections, name = key.split("__")
        place = document
        for section in sections:
            place = place[section]
        place[name] = value
    return document


def test_the_committed_file_is_valid_and_leaves_the_shared_rate_in_force() -> None:
    found = load_params("iclevr", COMMITTED)
    assert found.train.lr == read_yaml(COMMITTED)["train"]["lr"]
    for workload in WORKLOADS:
        assert "lr" not in read_yaml(COMMITTED)[workload]["train"]


def test_a_workload_overrides_key_by_key() -> None:
    found = parse_params(changed(iclevr__train={"batch_size": 7}), "iclevr")
    assert found.train.batch_size == 7
    assert found.train.lr == load_params("iclevr", COMMITTED).train.lr


@given(st.floats(min_value=1e-300, max_value=1e300))
def test_every_float_survives_however_it_is_written(value: float) -> None:
    for text in (repr(value), f"{value:e}", f"{value:E}", yaml.safe_dump(value)):
        read = yaml.load(f"x: {text}", Loader=_Loader)["x"]
        assert isinstance(read, float), text
        assert read == float(text.split("\n")[0])


@pytest.mark.parametrize("text", ["1e-05", "1E5", "+1e3", "-2e-3", "1.5e3"])
def test_exponents_without_a_dot_are_floats(text: str) -> None:
    assert yaml.load(text, Loader=_Loader) == float(text)


@pytest.mark.parametrize("text", ["1e", "e5", "0x1e5", "v1e5", "2024-01-01", "12e3x", "1_0e"])
def test_what_is_no_float_stays_what_it_was(text: str) -> None:
    assert yaml.load(text, Loader=_Loader) == yaml.safe_load(text)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (changed(train__lr="fast"), "params.yaml: train.lr: input should be a valid number"),
        (changed(train__lr=True), "params.yaml: train.lr: input should be a valid number"),
        (changed(train__lr=-1.0), "params.yaml: train.lr: input should be greater than 0"),
        (changed(train__steps=1.5), "params.yaml: train.steps: input should be a valid integer"),
        (changed(train__colour=1), "params.yaml: train.colour: unknown parameter"),
        (changed(iclevr__train={"colour": 1}), "params.yaml: iclevr.train.colour: unknown"),
        (changed(iclevr__train={"lr": "x"}), "params.yaml: iclevr.train.lr: input should be"),
        (changed(iclevr__colour=1), "params.yaml: iclevr.colour: unknown parameter"),
        (changed(colour={}), "params.yaml: colour: unknown section"),
        (changed(threads=0), "params.yaml: threads: input should be greater than 0"),
        (changed(train=None), "params.yaml: train: expected a section"),
        (changed(diffusion__timesteps=0), "params.yaml: diffusion.timesteps: input should be"),
        (changed(sample__sampler="foo"), "params.yaml: sample.sampler: input should be 'ddpm'"),
        (changed(iclevr__sample__steps=1001), "params.yaml (iclevr): sample.steps: 1001 is above"),
        (
            changed(iclevr__noisy_classifier__steps=0),
            "params.yaml (iclevr): sample.classifier_scale: 50 guides by a classifier of noisy ima",
        ),
        (
            changed(iclevr__sample__classifier_interval=[0.5, 0.5]),
            "params.yaml (iclevr): sample.classifier_interval: [0.5, 0.5] is empty",
        ),
        (
            changed(iclevr__sample__guidance_interval=[0.9, 0.1]),
            "params.yaml (iclevr): sample.guidance_interval: [0.9, 0.1] is empty",
        ),
        (
            changed(sweep__settings=[{"steps": 5}, {"steps": "many"}]),
            "params.yaml: iclevr.sweep.settings.steps: input should be a valid integer, not 'many'",
        ),
        (
            changed(sweep__settings=[{"step": 5}]),
            "params.yaml: iclevr.sweep.settings.step: unknown parameter",
        ),
        (
            changed(sweep__settings=[{"seeds": [1]}]),
            "params.yaml: iclevr.sweep.settings: seeds is the same for all settings of a sweep",
        ),
        (
            changed(sweep__settings=[{"weights": 5}]),
            "params.yaml (iclevr): sweep.settings {'weights': 5}: sample.weights: 5 is none of",
        ),
        (
            changed(sweep__settings=[{"eta": 0.5}, {"eta": 0.5}]),
            "params.yaml: iclevr.sweep.settings: {'eta': 0.5} stands there twice",
        ),
        (changed(sweep__settings=[{}]), "params.yaml: sweep.settings.0: dictionary should have"),
        (
            changed(iclevr__dataset__evaluator=0.99),
            "params.yaml (iclevr): dataset.validation + dataset.e",
        ),
        (changed(train__lr=float("inf")), "params.yaml: train.lr: input should be a finite"),
        (changed(sample__seeds=[0, 0]), "params.yaml: sample.seeds: must be all"),
        (
            changed(iclevr__dataset__evaluator=0.0),
            "params.yaml (iclevr): dataset.evaluator: 0.0 leaves no",
        ),
        (changed(iclevr__source__size=63), "params.yaml (iclevr): source.size: 63 is not a multi"),
        (changed(model__channels=[32, 65]), "params.yaml: model: Model.channels is (32, 65): "),
        (changed(diffusion__beta_end=2.0), "params.yaml: diffusion: beta_start and beta_end are"),
        (changed(train__warmup_steps=10**6), "params.yaml (iclevr): train.warmup_steps: 1000000"),
        (changed(iclevr__evaluator={"checkpoint_sha256": "12"}), "params.yaml: iclevr.evaluator.c"),
        (changed(train__epochs=3), "params.yaml (iclevr): train.steps and train.epochs are both g"),
        (changed(train__steps=None), "params.yaml (iclevr): train.steps and train.epochs are both"),
        (
            changed(train__accumulation=33),
            "params.yaml (iclevr): train.batch_size: 32 is less than",
        ),
        (changed(train__processes=64), "params.yaml (iclevr): train.batch_size: 32 is less than"),
        (changed(train__snapshots=[9999]), "params.yaml (iclevr): train.snapshots: 9999 is above"),
        *(
            (
                changed(train__ema_sigma_rel=[width]),
                "params.yaml: train.ema_sigma_rel.0: must be 0.0001 or more, with at most",
            )
            for width in (0.00001, 0.1234567)
        ),
        (
            changed(sample__weights="ema_0.00001"),
            "params.yaml: sample.weights: must be 0.0001 or more",
        ),
        (
            changed(train__ema_sigma_rel=[0.5]),
            "params.yaml: train.ema_sigma_rel.0: input should be",
        ),
        (
            changed(train__init_from_sha256="0" * 64),
            "params.yaml (iclevr): train.init_from is empty",
        ),
        (
            changed(train__optimizer="muon", train__parallel="fsdp"),
            "params.yaml (iclevr): train.optimizer: muon wants whole matrices",
        ),
        (
            changed(iclevr__diffusion__min_snr_gamma=None),
            "params.yaml (iclevr): diffusion.snr_plus_one is true and diffusion.min_snr_gamma emp",
        ),
        (
            changed(evaluate__spaces=["dino"]),
            "params.yaml: evaluate.spaces.0: input should be 'imagenet', 'dinov2' or 'clip', not",
        ),
        (changed(evaluate__neighbours=0), "params.yaml: evaluate.neighbours: input should be grea"),
        (changed(threads="all"), "params.yaml: threads: input should be a valid integer"),
        (changed(threads=0), "params.yaml: threads: input should be greater than 0"),
        (changed(train__optimizer="sgd"), "params.yaml: train.optimizer: input should be 'adamw'"),
        (
            changed(sample__weights="middle"),
            "params.yaml: sample.weights: must be ema",
        ),
        (
            changed(sample__weights=500),
            "params.yaml (iclevr): sample.weights: 500 is none of what ",
        ),
        (
            changed(sample__weights="ema_0.1"),
            "params.yaml (iclevr): sample.weights: ema_0.1 is none",
        ),
        (
            changed(sample__guidance_weights=500),
            "params.yaml (iclevr): sample.guidance_weights: 500 is none of what ",
        ),
        (
            changed(sample__guidance_weights="ema"),
            "params.yaml (iclevr): sample.guidance_weights: ema is sample.weights too, and ",
        ),
        (
            changed(sample__guidance_rescale=1.5),
            "params.yaml: sample.guidance_rescale: input should be less than or equal to 1",
        ),
        (
            changed(diffusion__zero_terminal_snr=True, diffusion__prediction="epsilon"),
            "params.yaml (iclevr): diffusion.prediction: epsilon says nothing of the image at the",
        ),
        (
            changed(iclevr__diffusion={"schedule": "straight", "prediction": "epsilon"}),
            "params.yaml (iclevr): diffusion.prediction: epsilon says nothing of the image at the",
        ),
        (
            changed(diffusion__shift=0.0),
            "params.yaml: diffusion.shift: input should be greater than 0",
        ),
        (
            changed(diffusion__zero_terminal_snr=True, diffusion__snr_plus_one=False),
            "params.yaml (iclevr): diffusion.min_snr_gamma: min(SNR, gamma) is 0 at the last lev",
        ),
        (
            changed(train__ema_decay=None),
            "params.yaml (iclevr): sample.weights: ema is none of what",
        ),
        (
            changed(sample__weights="best", dataset__validation=0.0),
            "params.yaml (iclevr): sample.weights: best is none of what train keeps (ema, last)",
        ),
    ],
)
def test_bad_values_are_named_in_one_line(document: dict, message: str) -> None:
    with pytest.raises(LockstepError) as caught:
        parse_params(document, "iclevr")
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (
            changed(faces__noisy_classifier__steps=4),
            "params.yaml (faces): noisy_classifier.steps: 4 are for labels, classes or prompts, an",
        ),
        (
            changed(faces__model__placement_heads=4),
            "params.yaml (faces): model.placement_heads: 4 are for labels or words, and the",
        ),
        (changed(faces__source__size=60), "params.yaml (faces): source.size: 60 is not a multipl"),
        (
            changed(faces__source__nose=[0.7, 0.3]),
            "params.yaml (faces): source.nose: [0.7, 0.3] i",
        ),
        (changed(faces__evaluator={"type": "scenes"}), "params.yaml (faces): evaluator.type: sce"),
        (changed(faces__sample__count=1), "params.yaml: faces.sample.count: input should be"),
        (changed(faces__crawl={"start": "2030-01-01"}), "params.yaml (faces): crawl.start: 2030"),
    ],
)
def test_each_workload_is_checked_for_itself(document: dict, message: str) -> None:
    parse_params(document, "iclevr")
    with pytest.raises(LockstepError) as caught:
        parse_params(document, "faces")
    assert str(caught.value).startswith(message)


MINE = {
    "source": {
        "type": "folder",
        "paths": ["pets.zip"],
        "sha256": [],
        "size": 64,
        "min_side": 64,
        "max_aspect": 2.0,
        "min_contrast": 12.0,
        "duplicate_bits": 24,
    },
    "condition": "none",
    **{name: {} for name in SHARED_NAMES},
    "evaluator": {"type": "rotation"},
    "sample": {"seeds": [0]},
}


def with_mine(name: object = "pets", **changes: object) -> dict:
    """The committed document with one more workload, some of whose keys are others (or none)."""
    section = {key: value for key, value in {**MINE, **changes}.items() if value is not None}
    document = changed(**{str(name): section})
    return {**document, "workloads": [*document["workloads"], name]}


def source_of_mine(**changes: object) -> dict:
    source = {key: value for key, value in {**MINE["source"], **changes}.items() if value != ""}
    return with_mine(source=source)


def without(*keys: str) -> dict:
    """The committed document without some dotted keys."""
    document = changed()
    for key in keys:
        *sections, name = key.split(".")
        place = document
        for section in sections:
            place = place[section]
        del place[name]
    return document


def refused(document: dict, workload: str = "pets") -> str:
    with pytest.raises(LockstepError) as caught:
        parse_params(document, workload)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_workload_is_a_section_and_a_name_in_the_list() -> None:
    document = with_mine()
    assert parse_params(document, "pets").source.size == 64
    for workload in WORKLOADS:
        assert parse_params(document, workload) == load_params(workload, COMMITTED)
    assert list(load_all(COMMITTED)) == WORKLOADS


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (with_mine(source=None), "params.yaml: pets.source: expected a section"),
        (source_of_mine(type=""), "params.yaml: pets.source.type (condition none): missing; give "),
        (source_of_mine(type="web"), "params.yaml: pets.source.type (condition none): unknown ki"),
        (source_of_mine(type="rendered"), "params.yaml: pets.source.type (condition none): unkn"),
        (source_of_mine(size=""), "params.yaml: pets.source.size: missing parameter"),
        (source_of_mine(paths=[]), "params.yaml: pets.source.paths: "),
        (source_of_mine(paths=["a", "a"]), "params.yaml: pets.source.paths: must be"),
        (source_of_mine(paths="pets.zip"), "params.yaml: pets.source.paths: "),
        (source_of_mine(sha256=["12"]), "params.yaml: pets.source.sha256.0"),
        (
            source_of_mine(sha256=["0" * 64] * 2),
            "params.yaml (pets): source.sha256: 2 hashes for ",
        ),
        (source_of_mine(count=3), "params.yaml: pets.source.count: unknown parameter"),
        (with_mine(condition=None), "params.yaml: pets.condition: missing; give one of none, cla"),
        (with_mine(condition="poems"), "params.yaml: pets.condition: unknown kind 'poems'; give"),
        (with_mine(evaluator={"type": "judge"}), "params.yaml: pets.evaluator.type: input should"),
        (with_mine(evaluator={"type": "scenes"}), "params.yaml (pets): evaluator.type: scenes is"),
        (with_mine(sweep=None), "params.yaml: pets.sweep: missing; add `sweep: {}` to override n"),
        ({**with_mine(), "workloads": []}, "params.yaml: workloads: give a list of names, not []"),
        ({**with_mine(), "workloads": "pets"}, "params.yaml: workloads: give a list of names, no"),
        ({**with_mine(), "workloads": [*WORKLOADS, "pets", "pets"]}, "params.yaml: workloads: a "),
        (without("iclevr"), "params.yaml: workloads: iclevr has no section; add `iclevr:` with"),
        ({**with_mine(), "workloads": WORKLOADS}, "params.yaml: pets: is not in the list `workl"),
        (without("workloads"), "params.yaml: workloads: give a list of names, not None"),
    ],
)
def test_a_workload_that_cannot_be_is_one_line(document: dict, message: str) -> None:
    assert refused(document).startswith(message)


@pytest.mark.parametrize("name", ["a/b", "..", "", "a b", "-a", "a.b", "a" * 65, "a\n", 7, None])
def test_a_name_that_is_no_folders_is_refused(name: object) -> None:
    assert "is no name of a workload; begin" in refused(with_mine(name))


@pytest.mark.parametrize("name", ["data", "train", "source", "condition", "threads", "workloads"])
def test_a_name_that_means_something_else_is_refused(name: str) -> None:
    document = changed()
    document["workloads"] = [*document["workloads"], name]
    document.setdefault(name, MINE)
    assert refused(document, name).endswith("means something else in params.yaml; rename it")


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (changed(scenes={}), "scenes: is the workload's source, of type rendered now"),
        (changed(crop={}), "crop: is the workload's source, of type ptt now"),
        (changed(merge={}), "merge: is the workload's source, of type folder now"),
        (changed(caption={}), "caption: is the workload's source now"),
        (changed(judge={}), "judge: is evaluator now"),
        (changed(iclevr__judge={}), "iclevr.judge: is evaluator now"),
        (changed(iclevr__scenes={}), "iclevr.scenes: is the workload's source, of type rendered"),
        (changed(dataset__judge=0.5), "dataset.judge: is dataset.evaluator now"),
        (changed(iclevr__dataset={"judge": 0.5}), "iclevr.dataset.judge: is dataset.evaluator n"),
        (changed(evaluate__seeds=[0]), "evaluate.seeds: is sample.seeds now"),
        (changed(iclevr__evaluate={"seeds": [0]}), "iclevr.evaluate.seeds: is sample.seeds now"),
        (changed(iclevr__source="rendered"), "iclevr.source: is a section now, `source: {type: "),
        (changed(iclevr__source_sha256="0"), "iclevr.source_sha256: is source.sha256 now"),
    ],
)
def test_an_old_key_says_what_it_is_called_now(document: dict, said: str) -> None:
    assert refused(document, "iclevr").startswith(f"params.yaml: {said}")


def test_a_workload_may_show_its_grids_at_other_times() -> None:
    document = changed(iclevr__grid_every_epochs=None, faces__grid_every_epochs=3)
    assert parse_params(document, "iclevr").grid_every_epochs is None
    assert parse_params(document, "faces").grid_every_epochs == 3
    with pytest.raises(LockstepError, match=r"params.yaml: faces.grid_every_epochs: input should"):
        parse_params(changed(faces__grid_every_epochs=0), "faces")
    with pytest.raises(LockstepError, match=r"params.yaml: faces.threads: unknown parameter"):
        parse_params(changed(faces__threads=1), "faces")


def test_snapshots_every_so_many_epochs() -> None:
    every = {"train__snapshot_every_epochs": 3, "train__warmup_steps": 0, "train__batch_size": 16}
    by_steps = parse_params(changed(**every, train__steps=100, train__snapshots=[5]), "iclevr")
    assert with_steps(by_steps, 101).train.snapshots == (5, 19, 38, 57, 76, 95)
    by_epochs = parse_params(changed(**every, train__steps=None, train__epochs=6), "iclevr")
    found = with_steps(by_epochs, 100).train
    assert (found.steps, found.snapshots) == (38, (19, 38))
    assert found.snapshot_every_epochs is None
    # Which steps these are is known with the images only: any may be asked for.
    parse_params(changed(**every, sample__weights=19), "iclevr")


def test_faces_need_no_images_for_their_evaluator() -> None:
    assert load_params("faces", COMMITTED).dataset.evaluator == 0.0


def test_how_patiently_a_server_is_asked_decides_nothing() -> None:
    one = load_params("faces", COMMITTED)
    two = parse_params(changed(crawl__delay=9.0, download__workers=1), "faces")
    assert one.deciding("crawl", "download") == two.deciding("crawl", "download")
    assert "crawl.start" in one.deciding("crawl")


def test_a_missing_key_is_named() -> None:
    document = changed()
    del document["train"]["lr"]
    with pytest.raises(LockstepError, match=r"params.yaml: train.lr: missing parameter"):
        parse_params(document, "iclevr")


@pytest.mark.parametrize("text", ["a: [", "- 1", ""])
def test_a_file_that_is_no_mapping(tmp_path: Path, text: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(LockstepError, match=r"params\.yaml: (not valid YAML|expected sections)"):
        read_yaml(path)


def test_a_command_line_is_not_judged_by_the_sweeps_settings(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(changed(sweep__settings=[{"guidance_weights": "best"}])))
    assert load_changed("iclevr", path, weights="best").sample.weights == "best"


def test_values_are_as_json_has_them() -> None:
    found = load_params("iclevr", COMMITTED)
    values = found.values(*SECTIONS)
    assert json.loads(json.dumps(values)) == values
    assert values["train.lr"] == found.train.lr
    assert isinstance(found.source, Rendered)
    assert (values["source.type"], values["source.count"]) == ("rendered", found.source.count)


@pytest.mark.parametrize(
    "changes",
    [
        {"sample__weights": "best"},
        {"sample__weights": 700, "train__snapshots": [700]},
        {"sample__weights": "ema_0.05", "train__ema_sigma_rel": [0.05, 0.1]},
        {"sample__weights": "ema_0.07", "train__ema_sigma_rel": [0.05, 0.1]},
    ],
)
def test_all_weights_that_training_keeps_can_be_sampled(changes: dict) -> None:
    weights = changes["sample__weights"]
    assert parse_params(changed(**changes), "iclevr").sample.weights == weights


def test_an_average_has_one_name() -> None:
    changes = {"sample__weights": "ema_0.10", "train__ema_sigma_rel": [0.1]}
    assert parse_params(changed(**changes), "iclevr").sample.weights == "ema_0.1"


def test_epochs_become_steps_and_are_then_the_same_training() -> None:
    by_epochs = changed(
        train__steps=None, train__epochs=3, train__warmup_steps=2, train__batch_size=16
    )
    found = with_steps(parse_params(by_epochs, "iclevr"), 101)
    assert found.train.steps == 19  # 303 images in batches of 16, the last one not full
    same = parse_params(
        changed(train__steps=19, train__warmup_steps=2, train__batch_size=16), "iclevr"
    )
    assert found == with_steps(same, 5)


def test_too_few_steps_are_seen_once_the_images_are_counted() -> None:
    found = parse_params(changed(train__steps=None, train__epochs=1), "iclevr")
    with pytest.raises(LockstepError, match=r"1 epochs of 32 images: train.warmup_steps: 50 is"):
        with_steps(found, 32)


def test_threads_are_the_cores_or_a_number() -> None:
    assert load_params("iclevr", COMMITTED).threads == available_cores()
    assert parse_params(changed(threads=3), "iclevr").threads == 3


def test_what_only_spreads_the_work_decides_nothing() -> None:
    document = changed(train__optimizer="adamw")
    one = parse_params(document, "iclevr")
    document["train"] |= {
        "processes": 2,
        "parallel": "fsdp",
        "init_from": "elsewhere/x.safetensors",
    }
    two = parse_params(document, "iclevr")
    assert one.deciding("train") == two.deciding("train")
    assert one.values("train") != two.values("train")
    document["train"]["init_from_sha256"] = "0" * 64
    tuned = parse_params(document, "iclevr")
    assert tuned.deciding("train") != one.deciding("train")


def readme_changes() -> list[list[str]]:
    """The `-S key=value` of every command in the README and in docs/."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    text = "\n".join(page.read_text("utf-8") for page in pages)
    lines = text.replace("\\\n", " ").splitlines()
    found = [
        [m[1] or m[2] for m in re.finditer(r"-S (?:'([^']+)'|([^\s`]+))", line)] for line in lines
    ]
    return [changes for changes in found if changes]


@pytest.mark.parametrize("changes", readme_changes(), ids=" ".join)
def test_the_readmes_changes_are_taken_by_dvc(tmp_path: Path, changes: list[str]) -> None:
    from dvc.utils.hydra import apply_overrides, get_hydra_sweeps

    for sweep in get_hydra_sweeps({"params.yaml": changes}):
        path = tmp_path / "params.yaml"
        shutil.copy(COMMITTED, path)
        apply_overrides(path, sweep["params.yaml"])
        for workload in WORKLOADS:
            load_params(workload, path)
        before, after = (p.read_text().splitlines() for p in (COMMITTED, path))
        differing = [
            line for line in before if line not in after and not line.strip().startswith("- ")
        ]
        assert len(differing) <= len(changes), (
            "DVC writes the file in another form than it is committed in"
        )
