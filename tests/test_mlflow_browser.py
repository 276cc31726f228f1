"""MLflow's own page over a training's run, in a real browser: its curves, and its grids by step.

It wants Playwright's Python package (requirements-browser.lock), and Debian's package `chromium`.
"""

from __future__ import annotations

import io
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import requests
from mlflow import MlflowClient
from PIL import Image

from lockstep.sampling.preview import Preview
from lockstep.tracking.live import followed
from lockstep.tracking.record import record
from made_up import finished

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
if CHROMIUM is None:
    pytest.skip("no Chromium here: apt-get install chromium", allow_module_level=True)
pytestmark = [pytest.mark.long, pytest.mark.pipeline]
_PATIENCE = 300_000  # milliseconds, on a busy machine
_GRIDS = {50: (200, 30, 30), 100: (30, 30, 200)}  # red, then blue


@pytest.fixture(scope="module")
def store(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowClient]:
    """Two trainings that were followed; the first one's model was evaluated too."""
    root, before = tmp_path_factory.mktemp("mlflow"), Path.cwd()
    shutil.copyfile(empty_store, root / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("DVC_ROOT", "DVC_EXP_NAME", "MLFLOW_TRACKING_URI"):
            patch.delenv(name, raising=False)
        os.chdir(root)
        try:
            model = finished("iclevr", labels=3)
            for fingerprint in (model.fingerprint, "e" * 64):
                with followed("iclevr", fingerprint, model.params) as live:
                    for step in (10, 50, 100):
                        live.log(step, {"loss": 1 / step, "lr": 1e-3})
                    for step, colour in _GRIDS.items():
                        grid = np.full((32, 64, 3), colour, np.uint8)
                        live.show(step, Preview(grid, (grid,)))
            record("iclevr")
            yield MlflowClient(f"sqlite:///{root / 'mlflow.db'}")
        finally:
            os.chdir(before)


@pytest.fixture(scope="module")
def address(store: MlflowClient) -> Iterator[str]:
    """What `make ui` starts, on a free port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        ["mlflow", "ui", "--port", str(port), "--workers", "1"],
        env={**os.environ, "MLFLOW_BACKEND_STORE_URI": store.tracking_uri},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(300):
            try:
                requests.get(f"{address}/health", timeout=60).raise_for_status()
                break
            except requests.ConnectionError:
                assert server.poll() is None
                time.sleep(1)
        yield address
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(60)


@pytest.fixture(scope="module")
def page(address: str) -> Iterator[playwright.Page]:
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM)
        page = browser.new_page(viewport={"width": 1300, "height": 1100})
        page.set_default_timeout(_PATIENCE)
        yield page
        browser.close()


def test_a_run_shows_its_curves_and_the_grid_of_each_step(
    store: MlflowClient, address: str, page: playwright.Page
) -> None:
    experiment = store.get_experiment_by_name("iclevr")
    assert experiment is not None
    evaluated = f"tags.`lockstep.training.fingerprint` = '{'0' * 64}'"
    (run,) = store.search_runs(
        [experiment.experiment_id], f"{evaluated} and tags.`lockstep.kind` = 'training'"
    )
    place = f"#/experiments/{experiment.experiment_id}/runs/{run.info.run_id}/model-metrics"
    page.goto(f"{address}/{place}", wait_until="commit")
    page.get_by_text("samples", exact=True).wait_for()
    page.locator(".js-plotly-plot .scatterlayer path.js-line").first.wait_for(state="attached")
    slider = page.get_by_role("slider")
    slider.wait_for()
    shown = {}
    for _ in _GRIDS:  # the page begins at step 0, where there is none
        slider.press("ArrowRight")
        step = int(slider.get_attribute("aria-valuenow") or -1)
        grid = page.locator("img[src*='samples']").last
        grid.wait_for()
        page.wait_for_function(
            "image => image.complete && image.naturalWidth", arg=grid.element_handle()
        )
        with Image.open(io.BytesIO(grid.screenshot())) as drawn:
            red, _, blue = (
                drawn.convert("RGB").resize((1, 1), Image.Resampling.BOX).getpixel((0, 0))
            )
        shown[step] = "red" if red > blue + 50 else "blue" if blue > red + 50 else "neither"
    assert shown == {50: "red", 100: "blue"}
