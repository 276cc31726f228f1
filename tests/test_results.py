"""tools/results.py and tools/pipeline.py: what README.md and docs/ say and show of the results."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lockstep.core.images import grid, write_png
from tools import pipeline, results

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize("page", list(results.pages()), ids=lambda page: page.name)
def test_the_pages_say_the_committed_metrics(page: Path) -> None:
    text = page.read_text("utf-8")
    assert results.updated(text, ROOT / "metrics") == text


def test_the_readme_and_the_results_have_marked_metrics() -> None:
    for name in ("README.md", "README.zh-TW.md", "docs/results.md"):
        assert (ROOT / name).read_text("utf-8").count("<!--") >= 9


def test_a_metric_is_brought_in_with_its_decimals(tmp_path: Path) -> None:
    (tmp_path / "pets").mkdir()
    (tmp_path / "pets/evaluate.json").write_text('{"fd": 1234.5678, "n": 6705}')
    text = "9.00<!--pets/evaluate fd--> of 1<!--pets/evaluate n-->, and 9.0 <!--a remark-->"
    new = "1,234.57<!--pets/evaluate fd--> of 6,705<!--pets/evaluate n-->, and 9.0 <!--a remark-->"
    assert results.updated(text, tmp_path) == new
    assert results.updated(new, tmp_path) == new
    (tmp_path / "pets/evaluate.json").write_text('{"fd": -0.0004}')
    for before in ("0.0009", "-0.0003"):  # kernel distances have no bias, and may be below 0
        mark = "<!--pets/evaluate fd-->"
        assert results.updated(before + mark, tmp_path) == f"-0.0004{mark}"
    with pytest.raises(KeyError, match="none"):
        results.updated("1<!--pets/evaluate none-->", tmp_path)


def test_the_first_images_are_those_of_the_grid(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (24, 64, 64, 3), np.uint8)
    write_png(tmp_path / "grid.png", grid(images, 8))
    assert np.array_equal(results.first(tmp_path / "grid.png", 9, 3), grid(images[:9], 3))


def test_the_committed_pictures_are_of_the_committed_grids() -> None:
    docs = ROOT / "docs"
    assert np.array_equal(np.asarray(Image.open(docs / "hero.png")), results.hero(docs))
    for name in results.GRIDS:
        few = np.asarray(Image.open(docs / name.replace(".png", "_few.png")))
        assert np.array_equal(few, results.first(docs / name, 6, 3))


def test_the_picture_of_the_pipeline_is_that_of_dvc_yaml() -> None:
    drawn = pipeline.draw(pipeline.graph(ROOT / "dvc.yaml"))
    assert drawn == pipeline.PICTURE.read_text("utf-8"), "`make results` draws it anew"


def test_arrows_follow_what_stages_read_and_none_is_implied(tmp_path: Path) -> None:
    (tmp_path / "dvc.yaml").write_text("""
stages:
  check: {cmd: a, outs: [code]}
  crawl: {foreach: [x], do: {cmd: b, deps: [code/x], outs: [found/x]}}
  train: {cmd: c, deps: [code/y, found/x], metrics: [scores.json: {cache: false}]}
  evaluate: {cmd: d, deps: [scores.json, found/x/some]}
""")
    arrows = pipeline.graph(tmp_path / "dvc.yaml")
    assert set(arrows.edges) == {("check", "crawl"), ("crawl", "train"), ("train", "evaluate")}
