"""The report of a workload: small made-up outputs, a real git repository, the page read back."""

from __future__ import annotations

import csv
import json
import math
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from bs4 import BeautifulSoup
from matplotlib import rc_context

from lockstep import cli
from lockstep.config.load import load_params
from lockstep.core import images, paths
from lockstep.core.errors import LockstepError
from lockstep.core.files import read_csv, write_csv, write_json
from lockstep.core.provenance import write_provenance
from lockstep.data import captions
from lockstep.report import curves, gather, metrics, numbers, page, settings
from lockstep.sources import listing
from lockstep.sources.download.download import FAILED
from lockstep.sources.ptt import output as ptt
from lockstep.training import history
from lockstep.training.steps import with_steps
from tiny import ROOT

WORKLOADS = ("iclevr", "faces", "anime", "captions")
METRICS = {
    "accuracy_test": 0.5,
    "accuracy_test_sd": 0.04,
    "false_objects_test": 0.75,
    "n_generated": 64,
    "copies": 0.0,
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's folder without outputs, and the current one."""
    root = tmp_path / "project"
    root.mkdir()
    shutil.copy(ROOT / "params.yaml", root)
    monkeypatch.chdir(root)
    for name in list(os.environ):
        if name.startswith("GIT_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    return root


def git(*arguments: str) -> str:
    identity = ("-c", "user.name=tester", "-c", "user.email=tester@example.com")
    done = subprocess.run(
        ["git", *identity, *arguments], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def commit(subject: str = "First") -> str:
    if not Path(".git").exists():
        git("init", "--quiet")
    Path(".gitignore").write_text("/data/\n/plots/\n/report/\n/models/\n/samples/\n")
    git("add", "--all")
    git("commit", "--quiet", "--message", subject)
    return git("rev-parse", "HEAD")


def outputs(workload: str = "iclevr", odd: str = "red cube") -> None:
    """Everything that stages would have left; `odd` is the name of an object."""
    summary = {
        "images": 1200,
        "train": 900,
        "validation": 300,
        "evaluator_train": 0,
        "evaluator_validation": 0,
        "digest": "ab" * 32,
        "mirrorable": True,
    }
    write_json(paths.dataset(workload) / "dataset.json", summary)
    write_provenance(paths.dataset(workload), {"dataset.seed": 0})
    (paths.dataset(workload) / "test.json").write_text(json.dumps([[odd], ["b", "c"]]))
    train = [
        {"step": step, "loss": 2.0 / step, "lr": 1e-3 * (1 - step / 200)}
        for step in range(10, 101, 10)
    ]
    curve = history.History(train, [{"step": 50, "val_loss": 0.05}, {"step": 100, "val_loss": 0.0}])
    history.write(paths.plots(workload, "train"), curve)
    write_json(paths.metrics(workload, "train"), history.summary(curve))
    write_json(paths.metrics(workload, "evaluate"), METRICS)
    grid = np.zeros((20, 100, 3), np.uint8)
    for path in ("sample/test", "sample/strip", "evaluate/copies"):
        images.write_png(Path("plots") / workload / f"{path}.png", grid)
    evaluate = paths.tables(workload, "evaluate")
    objects = [
        {
            "set": "test",
            "object": odd,
            "requested": 4,
            "generated": 3,
            "accuracy": 0.75,
            "unrequested": 1,
        },
        {
            "set": "test",
            "object": "b",
            "requested": 0,
            "generated": 0,
            "accuracy": "",
            "unrequested": 12,
        },
    ]
    write_csv(evaluate / "objects.csv", objects)
    write_csv(evaluate / "sizes.csv", [{"set": "test", "objects": 1, "accuracy": 0.25}])


def sweep(workload: str = "iclevr", accuracy: str = "accuracy_test") -> None:
    folder = paths.tables(workload, "sweep")
    rows = [
        {"setting": f"{s:g}", "guidance_scale": s, "steps": 20, accuracy: a, "fd_x": 4 + s}
        for s, a in ((4.0, 0.5), (1.0, 0.25), (2.0, 0.75))
    ]
    write_csv(folder / "guidance.csv", rows)
    samplers = [
        {**row, "setting": "ddim", "steps": steps, "evaluations": 2 * steps}
        for row, steps in zip(rows, (5, 20, 1000), strict=True)
    ]
    write_csv(folder / "samplers.csv", samplers)
    write_csv(folder / "settings.csv", [{**rows[0], "setting": "weights last, clip None"}])
    write_csv(folder / "steps.csv", [{"steps": 5, "ddim": 0.25}, {"steps": 1000, "ddim": 0.5}])
    write_csv(folder / "steps_distance.csv", [{"steps": 5, "ddim": 9.5}])
    write_json(paths.metrics(workload, "sweep"), {"best_guidance_scale": 2.0})


def written(workload: str = "iclevr") -> BeautifulSoup:
    out = Path("report") / f"{workload}.html"
    page.write(workload, out)
    return BeautifulSoup(out.read_text("utf-8"), "html.parser")


def text(tag) -> str:
    return " ".join(tag.get_text().split())


def cards(html: BeautifulSoup) -> dict[str, str]:
    return {text(card.select_one(".name")): text(card) for card in html.select(".card")}


def row_of(html: BeautifulSoup, name: str) -> list[str]:
    rows = html.select("#metrics tr, #parameters tr, #data tr")
    cells = [[text(cell) for cell in row.select("th, td")] for row in rows]
    return next(row for row in cells if row and row[0] == name)


def test_everything_is_on_the_page(project: Path) -> None:
    outputs()
    sweep()
    paths.collected("iclevr").mkdir(parents=True)
    paths.card("iclevr").write_text(
        "---\nlicense: unknown\n---\n# iclevr\n\n## How many\n\nSeven.\n"
    )
    name = commit("How it began")
    html = written()
    assert text(html.select_one("h1")) == "iclevr"
    assert text(html.select_one(".commit")) == f"{name[:10]} How it began"
    assert cards(html)["accuracy_test"].startswith("accuracy_test 0.5000 ± 0.0400 unchanged")
    assert row_of(html, "train")[1:3] == ["900", "75.0 %"]
    assert "ab" * 32 in text(html.select_one("#data"))
    assert [text(b) for b in html.select("#training figcaption b")] == ["Loss", "Learning rate"]
    assert all(lines_of(str(svg)) for svg in html.select("#training svg"))
    assert [text(c) for c in html.select("#images figcaption")] == [
        "Generated as requested, in order",
        "From noise to clear",
        "Generated images above, their nearest training images below",
    ]
    assert [text(item) for item in html.select("#images li")] == ["red cube", "b, c"]
    assert "copies 0.0:" in text(html.select_one("#images"))
    scores = [[text(td) for td in row.select("td")] for row in html.select("#scores tbody tr")]
    assert scores == [
        ["1", "0.250"],
        ["red cube", "4", "3", "0.750", "1"],
        ["b", "0", "0", "–", "12"],
    ]
    best = html.select("#sweep tr.best")
    assert [text(td) for td in best[0].select("td")] == ["2", "20", "0.750", "6"]
    assert len(html.select("#sweep svg")) == 6
    assert row_of(html, "lr")[1] == "0.001"
    assert text(html.select_one("pre")) == (
        f"git checkout {name} dvc repro evaluate@iclevr sweep@iclevr"
    )
    assert "makes it" not in text(html)
    assert text(html.select_one(".data-card")) == "Data card iclevr How many Seven."


def test_needs_no_network_and_no_script(project: Path) -> None:
    outputs()
    sweep()
    html = written()
    assert not html.select("script, link, iframe, object, embed, base")
    for tag in html.find_all(True):
        assert not [name for name in tag.attrs if name.startswith("on")]
        for name in ("src", "href"):
            assert tag.get(name, "#").startswith(("#", "data:image/png;base64,"))
    style = html.style.get_text()
    assert "url(" not in style and "@import" not in style
    assert "prefers-color-scheme: dark" in style and "@media print" in style
    targets = {tag["id"] for tag in html.select("[id]")}
    assert {link["href"][1:] for link in html.select("a")} <= targets


@pytest.mark.parametrize(
    ("name", "now", "shown"),
    [
        ("accuracy_test", 0.625, "▲ +0.1250 better"),
        ("accuracy_test", 0.25, "▼ −0.2500 worse"),
        ("accuracy_test_sd", 0.06, "▲ +0.02000"),
        ("false_objects_test", 0.5, "▼ −0.2500 better"),
        ("n_generated", 1088, "▲ +1,024"),
        ("copies", 0.015625, "▲ +0.01562 worse"),
        ("accuracy_test", 0.5, "unchanged"),
        ("accuracy_test", 0.5000001, "▲ +1e−07 better"),
    ],
)
def test_changes_are_against_the_last_commit(
    project: Path, name: str, now: float, shown: str
) -> None:
    outputs()
    commit()
    write_json(paths.metrics("iclevr", "evaluate"), {**METRICS, name: now})
    assert row_of(written(), name)[3].startswith(shown)


def test_what_came_and_what_went(project: Path) -> None:
    outputs()
    write_json(paths.metrics("iclevr", "evaluator"), {"evaluator_accuracy": 0.875})
    commit()
    paths.metrics("iclevr", "evaluator").unlink()
    lost = {name: value for name, value in METRICS.items() if name != "copies"}
    write_json(paths.metrics("iclevr", "evaluate"), {**lost, "swd": 3.5})
    html = written()
    assert row_of(html, "copies")[1:4] == ["–", "0.0", ""]
    assert row_of(html, "evaluator_accuracy")[1:4] == ["–", "0.8750", ""]
    assert row_of(html, "swd")[1:4] == ["3.500", "–", ""]
    assert "copies" not in cards(html)


def test_an_error_stands_beside_its_metric(project: Path) -> None:
    outputs()
    metrics = {**METRICS, "fd_dlib": 3.25, "fd_dlib_se": 0.125, "recall_dlib": 0.5}
    write_json(paths.metrics("iclevr", "evaluate"), metrics)
    write_json(paths.metrics("iclevr", "collect"), {"recall_crowd": 0.75})
    html = written()
    assert row_of(html, "fd_dlib")[1:5] == ["3.250", "–", "", "0.125"]
    assert row_of(html, "copies")[4] == ""
    assert not [text(cell) for cell in html.select("#metrics th") if "_se" in text(cell)]
    assert "fd_dlib" in cards(html) and "fd_dlib_se" not in cards(html)
    # Two of one name.
    assert "generated images" in row_of(html, "recall_dlib")[5]
    assert "of a kind" in row_of(html, "recall_crowd")[5]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        *[(name, 1) for name in ("accuracy_new_test", "exact_match_test", "precision", "recall")],
        *[(name, 1) for name in ("best_accuracy_test", "evaluator_accuracy", "binding_accuracy")],
        *[(name, -1) for name in ("fd_dlib", "fid", "kid_dlib", "swd", "copies", "copies_dlib")],
        *[(name, -1) for name in ("loss", "val_loss", "false_objects_new_test")],
        *[(name, 1) for name in ("relation_accuracy_found", "clip_score", "psnr")],
        *[(name, -1) for name in ("false_objects", "evaluator_place_error")],
        ("noisy_classifier_accuracy_0.25", 1),
        ("noisy_classifier_perplexity_0.25", -1),
        *[(name, 0) for name in ("object_accuracy_chance", "relation_accuracy_found_sd")],
        *[(name, 1) for name in ("precision_dlib", "recall_dlib", "density_dlib", "coverage_dlib")],
        *[(name, 0) for name in ("fd_dlib_se", "precision_dlib_se", "authenticity_dlib")],
        *[(name, 0) for name in ("accuracy_test_sd", "steps", "kept", "best_guidance_scale")],
    ],
)
def test_more_is_better_or_less_is(name: str, expected: int) -> None:
    assert metrics.direction(name) == expected


def test_changed_parameters_are_marked(project: Path) -> None:
    outputs()
    commit()
    path = Path("params.yaml")
    path.write_text(path.read_text().replace("\n  train:\n", "\n  train:\n    lr: 1e-05\n", 1))
    html = written()
    assert [text(code) for code in html.select("#parameters > p code")] == ["train.lr"]
    assert [text(mark.parent) for mark in html.select("mark")] == ["1e-05 was 0.001"]
    assert "params.yaml" in text(html.select_one("#again"))
    assert "with uncommitted changes" in text(html.select_one(".commit"))


def test_settings_of_the_outputs_that_are_no_longer_in_force(project: Path) -> None:
    outputs()
    assert not written().select(".notice")
    path = Path("params.yaml")
    path.write_text(path.read_text().replace("lr: 0.001", "lr: 0.5"))
    write_provenance(paths.model("iclevr"), {"train.lr": 0.001})
    notice = text(written().select_one(".notice"))
    assert "train.lr: 0.5 now, 0.001 when they were made" in notice


@pytest.mark.parametrize(
    ("path", "made", "shown"),
    [
        ("evaluators/iclevr", {"evaluator.epochs": 9}, "evaluator.epochs: 3 now, 9 when"),
        (
            "data/reference/iclevr",
            {"evaluate.reference": "folder"},
            "evaluate.reference: train now, folder when",
        ),
        (
            "samples/iclevr",
            {"sample.seeds": [7]},
            "sample.seeds: [0, 1, 2, 3] now, [7] when",
        ),
        (
            "tables/iclevr/sweep",
            {"sweep.samplers": ["ddpm"]},
            "dpmpp_2m] now, [ddpm] when",
        ),
        (
            "tables/iclevr/evaluate",
            {"evaluate.count": 3},
            "evaluate.count: empty now, 3 when",
        ),
        ("tables/iclevr/sweep", {"sample.seeds": [0, 1, 2, 3]}, None),
        ("evaluators/iclevr", {"evaluator.sha256": "00", "evaluator.epochs": 3}, None),
    ],
)
def test_every_stage_says_what_made_its_output(
    project: Path, path: str, made: dict[str, object], shown: str | None
) -> None:
    outputs()
    write_provenance(Path(path), made)
    notices = [text(notice) for notice in written().select(".notice")]
    if shown is None:
        assert not notices
    else:
        assert len(notices) == 1 and shown in notices[0]


def test_a_setting_that_two_outputs_have_is_said_once(project: Path) -> None:
    outputs()
    sweep()
    made = {"sample.steps": 7}
    write_provenance(paths.samples("iclevr"), made)
    write_provenance(paths.tables("iclevr", "sweep"), made)
    html = written()
    assert len(html.select(".notice li")) == 1
    assert text(html.select_one(".notice code")) == "dvc repro evaluate@iclevr sweep@iclevr"


def test_what_the_pipeline_itself_fills_in_is_not_another_setting(project: Path) -> None:
    outputs("anime")
    made = {"source.paths": ["synthetic"], "source.sha256": [None]}
    write_provenance(paths.dataset("anime"), made)
    assert not written("anime").select(".notice")


@pytest.mark.parametrize(
    ("name", "others"), [("epochs", {"steps": None}), ("snapshot_every_epochs", {})]
)
def test_epochs_are_compared_as_the_steps_that_they_come_to(
    project: Path, name: str, others: dict[str, None]
) -> None:
    outputs("anime")

    def ask(epochs: int) -> None:
        document = yaml.safe_load((ROOT / "params.yaml").read_text("utf-8"))
        document["anime"]["train"] |= {name: epochs, **others}
        Path("params.yaml").write_text(yaml.safe_dump(document, sort_keys=False), "utf-8")

    ask(4)
    counted = with_steps(load_params("anime"), 900).train  # of 900 images, as outputs() says
    made = {"train.steps": counted.steps, "train.snapshots": list(counted.snapshots)}
    write_provenance(paths.model("anime"), made)
    assert not written("anime").select(".notice")
    ask(3)
    (notice,) = written("anime").select(".notice")
    assert ("train.steps" if name == "epochs" else "train.snapshots") in text(notice)
    # Without the data set nobody knows how many steps they are.
    shutil.rmtree(paths.dataset("anime"))
    assert not written("anime").select(".notice")


def test_metrics_that_are_older_than_what_they_are_of(project: Path) -> None:
    outputs()
    drawn, read = ({"path": "samples/iclevr", "md5": md5} for md5 in ("new", "old"))
    stages = {"sample@iclevr": {"outs": [drawn]}, "evaluate@iclevr": {"deps": [read]}}
    write_json(Path("dvc.lock"), {"stages": stages})
    (notice,) = written().select(".notice")
    assert "samples/iclevr was made anew since" in text(notice)
    assert text(notice.code) == "dvc repro evaluate@iclevr"
    # Its plots are not here, but its metrics are: it has to run too.
    write_json(Path("dvc.lock"), {"stages": {**stages, "sweep@iclevr": {"deps": [read]}}})
    (notice,) = written().select(".notice")
    assert text(notice.code) == "dvc repro evaluate@iclevr sweep@iclevr"


def test_an_older_form_of_the_parameters_is_no_failure(project: Path) -> None:
    outputs()
    now = Path("params.yaml").read_text()
    Path("params.yaml").write_text("train: {lr: 0.5}\nsample: 3\nfaces: [1]\n")
    commit()
    Path("params.yaml").write_text(now)
    marks = {
        text(row.th): text(row.td)
        for row in written().select("#parameters tr")
        if row.select("mark")
    }
    assert marks["lr"] in ("0.001 was 0.5", "0.001 was not there")  # judge has one too
    assert marks["sampler"] == "dpmpp_2m was not there"
    Path("params.yaml").write_text("a: [\n")
    commit()
    Path("params.yaml").write_text(now)
    assert not written().select("mark")


def test_without_git_there_is_nothing_to_compare(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outputs()
    html = written()
    assert not html.select(".change")
    assert "No git commit here" in text(html)
    assert text(html.select_one("pre")) == "dvc repro evaluate@iclevr"
    page.write("iclevr", Path("again.html"))
    git("init", "--quiet")  # a repository without a commit
    page.write("iclevr", Path("unborn.html"))
    monkeypatch.setenv("PATH", "/nowhere")
    page.write("iclevr", Path("no_git.html"))
    same = {Path(f"{name}.html").read_bytes() for name in ("again", "unborn", "no_git")}
    assert len(same) == 1


def test_a_commit_without_metrics(project: Path) -> None:
    commit()
    outputs()
    html = written()
    assert not html.select(".change")
    assert "has no metrics to compare with" in text(html)


def test_missing_parts_say_what_makes_them(project: Path) -> None:
    write_json(paths.metrics("iclevr", "train"), {"loss": 0.5})
    html = text(written())
    for target in ("collect", "dataset", "train", "sample", "evaluate", "sweep"):
        assert f"dvc repro {target}@iclevr makes it" in html
    assert "What was kept" not in html and "dvc repro download" not in html
    write_json(paths.metrics("faces", "train"), {"loss": 0.5})
    html = text(written("faces"))
    assert "dvc repro collect@faces makes it" in html
    assert "sweep@" not in html


@pytest.mark.parametrize("workload", WORKLOADS)
def test_what_makes_a_part_is_in_the_pipeline(project: Path, workload: str) -> None:
    known = set()
    for name, stage in yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"].items():
        known |= {f"{name}@{workload}"} if "foreach" in stage else {name}
    wanted = gather.targets(load_params(workload, paths.PARAMS))
    assert set(wanted.values()) <= known


def test_nothing_at_all_is_an_error_of_one_line(project: Path) -> None:
    with pytest.raises(LockstepError, match=r"^iclevr: nothing to report yet; `dvc repro") as error:
        page.write("iclevr", Path("report/iclevr.html"))
    assert "\n" not in str(error.value)
    assert not Path("report").exists()


def test_faces_say_which_were_kept_and_why(project: Path) -> None:
    outputs("faces")
    write_json(paths.metrics("faces", "collect"), {"kept": 3, "found": 5, "precision": 0.75})
    path = paths.collected("faces") / "decisions.csv"
    path.parent.mkdir(parents=True)
    with path.open("w", newline="") as file:
        rows = [["decision"], *([d] for d in ("blurred", "kept", "kept", "<i>", "kept"))]
        csv.writer(file).writerows(rows)
    html = written("faces")
    assert row_of(html, "kept")[1:3] == ["3", "60.0 %"]
    assert row_of(html, "blurred")[-1] == "less sharp than source.min_sharpness"
    assert row_of(html, "<i>")[1] == "1"
    assert "kept 3, found 5, precision 0.7500." in text(html.select_one("#data"))


def test_merged_files_say_which_were_kept_and_why(project: Path) -> None:
    outputs("anime")
    write_json(paths.metrics("anime", "collect"), {"kept": 1, "found": 3})
    path = paths.collected("anime") / "decisions.csv"
    path.parent.mkdir(parents=True)
    path.write_text("decision\nkept\nblank\nsmall\n")
    html = written("anime")
    assert row_of(html, "blank")[-1] == "less contrast than source.min_contrast"
    assert row_of(html, "small")[-1] == "a side shorter than source.min_side"
    assert "Files kept 1, found 3." in text(html.select_one("#data"))
    path.unlink()
    paths.metrics("anime", "collect").unlink()
    assert "dvc repro collect@anime makes it" in text(written("anime"))


def test_faces_say_what_was_found_and_fetched(project: Path) -> None:
    outputs("faces")
    crawled, downloaded = paths.crawled("faces"), paths.downloaded("faces")
    for folder in (crawled, downloaded):
        folder.mkdir(parents=True)
    listing.write_lines(crawled / ptt.ARTICLES, [{}] * 1200)
    listing.write_list(crawled / listing.IMAGES, [{"address": "a"}] * 5)
    lead = "1,200 articles, 5 images named in them."
    assert lead in text(written("faces").select_one("#data"))  # without a download
    listing.write_lines(downloaded / listing.MANIFEST, [{}] * 2)
    reasons = ("HTTP 404", "above max_pixels", "HTTP 404")
    (downloaded / FAILED).write_text("".join(f"https://a/b\t{r}\n" for r in reasons))
    html = written("faces")
    assert lead in text(html.select_one("#data"))
    assert row_of(html, "fetched")[1:3] == ["2", "40.0 %"]
    assert row_of(html, "HTTP 404")[1:3] == ["2", "40.0 %"]
    assert row_of(html, "above max_pixels")[1:3] == ["1", "20.0 %"]


def test_captions_say_what_was_asked_for_and_which_prompts_fail(project: Path) -> None:
    outputs("captions")
    evaluate = paths.tables("captions", "evaluate")
    for name in ("objects", "sizes"):
        (evaluate / f"{name}.csv").unlink()
    asked = {f"single_{number:02d}": f"a red cube, {number}" for number in range(70)}
    captions.write(paths.dataset("captions"), {"a.png": ["a"]}, asked)
    one = {"id": "single_00", "prompt": "a <b>cube", "objects": 0.5, "binding": ""}
    write_csv(evaluate / "prompts.csv", [one, {**one, "binding": 1.0}])
    write_csv(evaluate / "kinds.csv", [{"kind": "single", "prompts": 2, "objects": 0.5}])
    write_json(paths.metrics("captions", "autoencoder"), {"psnr": 31.5})
    write_json(paths.metrics("captions", "evaluate"), {**METRICS, "clip_score": 25.0})
    html = written("captions")
    listed = [text(item) for item in html.select("#images li")]
    assert listed == list(asked.values())[:64]  # as many as the grid has
    assert [text(title) for title in html.select("#scores h3")] == [
        "By kind of prompt",
        "By prompt",
    ]
    scores = [[text(td) for td in row.select("td")] for row in html.select("#scores tbody tr")]
    assert scores == [
        ["single", "2", "0.500"],
        ["single_00", "a <b>cube", "0.500", "–"],
        ["single_00", "a <b>cube", "0.500", "1"],
    ]
    assert "binding" in text(html.select_one("#scores .lead"))
    assert "by CLIP" in cards(html)["clip_score"]
    groups = [text(group) for group in html.select("#metrics tr.group")]
    assert groups == ["autoencoder", "train", "evaluate"]
    assert row_of(html, "psnr")[-1].endswith("in decibels")


def test_ids_and_prompts_that_look_like_numbers_stay_as_they_are(project: Path) -> None:
    outputs("captions")
    evaluate = paths.tables("captions", "evaluate")
    for name in ("objects", "sizes"):
        (evaluate / f"{name}.csv").unlink()
    asked = [("00017", "1984"), ("12_34", "infinity"), ("nan", "2")]
    captions.write(paths.dataset("captions"), {"a.png": ["a"]}, dict(asked))
    write_csv(
        evaluate / "prompts.csv",
        [{"id": name, "prompt": prompt, "clip_score": 25.0} for name, prompt in asked],
    )
    rows = written("captions").select("#scores tbody tr")
    assert [tuple(text(td) for td in row.select("td")[:2]) for row in rows] == asked


def test_the_sweep_marks_what_its_metric_names(project: Path) -> None:
    outputs()
    sweep()
    write_json(paths.metrics("iclevr", "sweep"), {"best_guidance_scale": 1.0})
    assert [text(row.td) for row in written().select("#sweep tr.best")] == ["1"]
    paths.metrics("iclevr", "sweep").unlink()
    assert not written().select("#sweep tr.best")


def test_the_sweep_of_captions_is_about_sentences(project: Path) -> None:
    sweep("captions", "object_accuracy")
    titles = [text(title) for title in written("captions").select("#sweep figcaption b")]
    assert titles == [
        "Accuracy",
        "Fréchet distance",
        "Object accuracy of each sampler",
        "Fréchet distance of each sampler",
        "Object accuracy by evaluations of the network",
        "Fréchet distance by evaluations of the network",
    ]
    # Where nobody knows what sentences state, there are distances only.
    folder = paths.tables("captions", "sweep")
    (folder / "steps.csv").unlink()
    for name in ("guidance", "samplers"):
        rows = read_csv(folder / f"{name}.csv")
        far = [{k: v for k, v in row.items() if k != "object_accuracy"} for row in rows]
        write_csv(folder / f"{name}.csv", far)
    html = written("captions")
    assert [text(title) for title in html.select("#sweep figcaption b")] == titles[1::2]
    assert [text(row.td) for row in html.select("#sweep tr.best")] == ["2"]


def test_columns_that_are_new_are_in_the_table_but_no_curve(project: Path) -> None:
    sweep()
    path = paths.tables("iclevr", "sweep") / "guidance.csv"
    write_csv(path, [{**row, "accuracy_test_sd": 0.25, "x": 1} for row in read_csv(path)])
    html = written()
    assert text(html.select("#sweep figcaption")[0]) == "Accuracy test"
    columns = [text(cell) for cell in html.select_one("#sweep thead").select("th")]
    assert columns[-2:] == ["accuracy test sd", "x"]


def test_one_seed_has_no_spread(project: Path) -> None:
    outputs()
    one = {name: value for name, value in METRICS.items() if name != "accuracy_test_sd"}
    write_json(paths.metrics("iclevr", "evaluate"), one)
    assert "±" not in text(written())


def test_everything_is_escaped(project: Path) -> None:
    outputs(odd='<b onclick="x">&')
    write_json(paths.metrics("iclevr", "evaluator"), {"<img src=x>": 1.0})
    write_provenance(paths.dataset("iclevr"), {"source": "</style><script>"})
    commit("<script>alert(1)</script> & more")
    html = written()
    assert not html.select("script, [onclick], #metrics img")
    assert "<script>alert(1)</script> & more" in text(html.select_one(".commit"))
    assert text(html.select_one("#images li")) == '<b onclick="x">&'
    assert '<b onclick="x">&' in text(html.select_one("#scores"))
    assert row_of(html, "<img src=x>")[1] == "1.0"


def test_the_same_inputs_give_the_same_bytes(project: Path) -> None:
    outputs()
    sweep()
    commit()
    for _ in range(2):  # in the tree and not ignored: the page itself is no change to it
        page.write("iclevr", Path("page.html"))
        first = Path("page.html").read_bytes()
    page.write("iclevr", Path("page.html"))
    assert Path("page.html").read_bytes() == first
    assert b"uncommitted" not in first
    assert not list(Path().glob(".page*"))


def test_damaged_files_are_named(project: Path) -> None:
    outputs()
    grid = Path("plots/iclevr/sample/test.png")
    grid.write_bytes(b"no image")
    with pytest.raises(LockstepError, match=f"^{re.escape(str(grid))}: not a readable image"):
        written()
    grid.unlink()
    paths.metrics("iclevr", "train").write_text("{")
    with pytest.raises(LockstepError, match=r"train\.json: damaged"):
        written()


@pytest.mark.parametrize(
    ("path", "content", "said"),
    [
        ("data/dataset/iclevr/dataset.json", "{}", "KeyError: 'images'"),
        ("data/dataset/iclevr/dataset.json", "[]", "a list, not an object"),
        ("data/dataset/iclevr/test.json", "3", "TypeError: "),
        ("plots/iclevr/train/train.csv", "step,loss\n10\n", "line 2 is too short or too long"),
        ("plots/iclevr/train/train.csv", "step\n10,2\n", "line 2 is too short or too long"),
        ("plots/iclevr/train/train.csv", "step\n\xff\n", "'utf-8' codec"),
        ("tables/iclevr/sweep/guidance.csv", "steps\n20\n", "KeyError: 'guidance_scale'"),
        ("tables/iclevr/sweep/guidance.csv", "guidance_scale\na\n", "ValueError: "),
        ("data/collected/faces/decisions.csv", "face\n1\n", "KeyError: 'decision'"),
        ("data/crawled/iclevr/articles.jsonl", "{}\n{\n", "Expecting property name"),
        ("data/downloaded/iclevr/manifest.jsonl", "\xff", "'utf-8' codec can't decode"),
        ("data/downloaded/iclevr/failed.txt", "\xff", "UnicodeDecodeError"),
    ],
)
def test_a_file_in_another_form_is_named(project: Path, path: str, content: str, said: str) -> None:
    workload = next(name for name in WORKLOADS if name in Path(path).parts)
    outputs(workload)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_bytes(content.encode("latin-1"))
    with pytest.raises(LockstepError) as caught:
        written(workload)
    message = str(caught.value)
    assert message.startswith(f"{path}: damaged ({said}")
    assert message.endswith("; `dvc checkout` restores it") and "\n" not in message


def test_as_a_command(project: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    outputs()

    def call(*arguments: str) -> tuple[object, str, str]:
        monkeypatch.setattr(sys, "argv", ["lockstep", "report", *arguments])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        return caught.value.code, *capsys.readouterr()

    assert call("iclevr") == (0, "report/iclevr.html\n", "")
    assert call("iclevr", "--out", "sub/x.html") == (0, "sub/x.html\n", "")
    assert Path("sub/x.html").read_bytes() == Path("report/iclevr.html").read_bytes()
    status, _, err = call("faces")
    assert status == 1
    assert err.startswith("error: faces: nothing to report yet")
    status, _, err = call("iclevr", "--out", "x.pdf")
    assert status == 2
    assert "does not end in .html" in err


def test_from_a_project_within_a_larger_repository(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outputs()
    monkeypatch.chdir(project.parent)
    commit()
    monkeypatch.chdir(project)
    write_json(paths.metrics("iclevr", "evaluate"), {**METRICS, "copies": 0.5})
    assert row_of(written(), "copies")[3] == "▲ +0.5000 worse"
    assert row_of(written(), "accuracy_test")[3] == "unchanged"


def test_parameters_in_force_are_those_that_the_command_prints(project: Path) -> None:
    loaded = load_params("iclevr", paths.PARAMS)
    assert [
        f"{section.name}.{setting.name}".strip(".")
        for section in settings.sections(loaded)
        for setting in section.settings
    ] == list(loaded.in_force())


def lines_of(svg: str) -> list[str]:
    """The paths of a chart's lines, without those of the dots on them."""
    paths = BeautifulSoup(svg, "html.parser").select("path[clip-path]")
    return [path["d"] for path in paths if "--line-" in path["style"]]


def dots_of(svg: str) -> list[tuple[float, float]]:
    """Where the dots of a chart's lines are."""
    dots = BeautifulSoup(svg, "html.parser").select("[clip-path] use")
    return [(float(str(dot["x"])), float(str(dot["y"]))) for dot in dots]


def box_of(svg: str) -> list[float]:
    """Left, top, width and height of a chart."""
    element = BeautifulSoup(svg, "html.parser").select_one("svg")
    assert element is not None
    return [float(number) for number in str(element["viewbox"]).split()]


def test_a_diverged_training_leaves_a_gap() -> None:
    points = [(0.0, 1.0), (1.0, math.nan), (2.0, 0.5), (3.0, math.inf), (4.0, 0.25)]
    chart = curves.draw("Loss", "step", {"training": points}, falls_far=True)
    assert chart is not None
    assert len(dots_of(chart.svg)) == 3
    connected = curves.draw("Loss", "step", {"training": [*points, (5.0, 0.2)]}, falls_far=True)
    assert connected is not None
    (line,) = lines_of(connected.svg)
    assert line.count("M") == 3
    many = [(float(i), math.nan if i % 2 else 1.0) for i in range(60)]  # 30 points, none a line
    alone = curves.draw("Loss", "step", {"training": many})
    assert alone is not None and len(dots_of(alone.svg)) == 30
    assert curves.draw("Loss", "step", {"training": [(0.0, math.nan)]}) is None


@pytest.mark.parametrize("y", [0.0, 5.0, -3.0, 1e-9, 1e9])
def test_a_single_point_can_be_drawn(y: float) -> None:
    chart = curves.draw("One", "step", {"a": [(1.0, y)]}, falls_far=True)
    assert chart is not None
    ((across, down),) = dots_of(chart.svg)
    _, _, width, height = box_of(chart.svg)
    assert 0 < across < width and 0 < down < height


def test_axes_have_round_numbers() -> None:
    points = [(float(step), 10.0 / step) for step in range(7, 2101, 7)]
    chart = curves.draw("Loss", "step", {"a": points}, falls_far=True)
    assert chart is not None
    texts = [one.text for one in BeautifulSoup(chart.svg, "html.parser").select("text")]
    assert texts == [
        *("0", "500", "1000", "1500", "2000", "step"),
        *("0.005", "0.01", "0.02", "0.05", "0.1", "0.2", "0.5", "1"),
    ]
    _, _, width, height = box_of(chart.svg)
    ticks = BeautifulSoup(chart.svg, "html.parser").select("use:not([clip-path] use)")
    assert all(0 <= float(str(tick["x"])) <= width for tick in ticks)
    assert all(0 <= float(str(tick["y"])) <= height for tick in ticks)


def test_a_readers_own_settings_change_nothing() -> None:
    points = {"a": [(1.0, 2.0), (2.0, 3.0)]}
    plain = curves.draw("A", "b", points)
    with rc_context(
        {"axes.grid": True, "font.size": 30, "lines.linewidth": 9, "path.sketch": (1, 9, 9)}
    ):
        assert curves.draw("A", "b", points) == plain


def test_the_same_chart_is_the_same_bytes_in_the_colours_of_the_page() -> None:
    first, second = (curves.draw("A", "b", {"a": [(1.0, 2.0), (2.0, 3.0)]}) for _ in range(2))
    assert first == second
    assert first is not None and "var(--line-0)" in first.svg and "#0000" not in first.svg


def test_few_numbers_of_steps_stand_apart() -> None:
    points = [(float(steps), 1.0) for steps in (1, 20, 21, 1000)]
    chart = curves.draw("A", "steps", {"a": points})
    assert chart is not None
    texts = [one.text for one in BeautifulSoup(chart.svg, "html.parser").select("text")]
    assert texts[:4] == ["1", "20", "1000", "steps"]


def test_numbers() -> None:
    shown = [numbers.text(v) for v in (2100, -3, 0.64236, 31.2512, 0.0134031, 4.3e-5, 1.0, 12345.6)]
    assert shown == ["2,100", "−3", "0.6424", "31.25", "0.01340", "4.3e−05", "1.0", "12,346"]
    assert numbers.text(math.nan) == "not a number"
    assert numbers.text(-math.inf) == "−∞"
    assert numbers.column([1.0, 20.0]) == ["1", "20"]
    assert numbers.column([0.5, "", 1.0]) == ["0.500", "–", "1.000"]


@pytest.mark.parametrize("condition", ["classes", "none", "prompts"])
def test_a_workload_of_any_name_and_condition_has_a_page(project: Path, condition: str) -> None:
    evaluator = {"classes": "classifier", "none": "rotation", "prompts": "scenes"}[condition]
    document = yaml.safe_load(Path("params.yaml").read_text())
    workload = {**document["captions" if condition == "prompts" else "anime"]}
    workload |= {"condition": condition, "evaluator": {"type": evaluator}}
    document |= {"workloads": ["pets"], "pets": workload}
    for name in WORKLOADS:
        del document[name]
    Path("params.yaml").write_text(yaml.safe_dump(document))
    outputs("pets")
    (paths.dataset("pets") / "test.json").unlink()
    sweep("pets")
    write_json(paths.metrics("pets", "collect"), {"kept": 3, "found": 5})
    html = written("pets")
    assert text(html.select_one("h1")) == "pets"
    assert len(html.select("#sweep svg")) == 6
    assert ("colours" in text(html.select_one("#scores .lead"))) == (condition == "prompts")
