"""Take the screenshots in docs/ anew, of a finished `make` in the current folder.

    make app && pip install --no-deps --requirement requirements-browser.lock
    python -m tools.screenshots [--scripts FOLDER]

It wants Debian's package `chromium`. The page of `dvc plots show` fetches its charts' scripts from
cdn.jsdelivr.net; where that is out of reach, `--scripts` names a folder that has them as npm
installs them (`npm install vega@5 vega-lite@5 vega-embed@6`).
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

import requests
from mlflow import MlflowClient
from PIL import Image
from playwright.sync_api import Browser, Page, Route, sync_playwright

DOCS = Path(__file__).resolve().parent.parent / "docs"
STORE = "sqlite:///mlflow.db"
_PATIENCE = 120  # seconds


def main() -> None:
    parser = argparse.ArgumentParser(description="Take the screenshots in docs/ anew.")
    parser.add_argument("--scripts", type=Path, help="a node_modules folder, for no network")
    arguments = parser.parse_args()
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"))
        with server([sys.executable, "-m", "lockstep.cli", "app"]) as address:
            app(browser, address)
        environment = {"MLFLOW_BACKEND_STORE_URI": STORE}
        with server(["mlflow", "ui", "--workers", "1"], **environment) as address:
            mlflow(browser, address)
        report(browser)
        plots(browser, arguments.scripts)
        browser.close()


@contextmanager
def server(command: list[str], **environment: str) -> Iterator[str]:
    """The address of a web server on a free port here, for as long as the block lasts."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    process = subprocess.Popen(
        [*command, "--port", str(port)], env={**os.environ, **environment}, start_new_session=True
    )
    try:
        end = time.monotonic() + _PATIENCE
        while True:
            try:
                requests.get(address, timeout=_PATIENCE).raise_for_status()
                break
            except requests.ConnectionError:
                if time.monotonic() > end or process.poll() is not None:
                    raise
                time.sleep(0.3)
        yield address
    finally:
        process.terminate()
        process.wait()


def opened(browser: Browser, address: str, width: int, height: int) -> Page:
    page = browser.new_page(viewport={"width": width, "height": height})
    page.set_default_timeout(1000 * _PATIENCE)
    page.goto(address)
    return page


def save(page: Page, name: str, *, colours: int | None = None, whole: bool = False) -> None:
    """A PNG into docs/, with a palette where few `colours` will do."""
    path = DOCS / name
    page.screenshot(path=path, full_page=whole)
    if colours is not None:
        with Image.open(path) as image:
            reduced = image.convert("RGB").quantize(colours)
        reduced.save(path, optimize=True)
    print(path.name)


def app(browser: Browser, address: str) -> None:
    page = opened(browser, address, 1260, 1100)
    page.get_by_role("tab", name="iclevr").click()
    panel = page.get_by_role("tabpanel")
    for box in panel.get_by_role("group", name="Objects").get_by_role("checkbox").all():
        box.uncheck()
    for name in ("red cube", "cyan sphere"):
        panel.get_by_label(name).check()
    panel.get_by_label("Images", exact=True).and_(panel.get_by_role("spinbutton")).fill("4")
    panel.get_by_label("Compare").check()
    for label, value in (("Guidance (second)", "4"), ("Classifier guidance (second)", "0")):
        field = panel.get_by_role("spinbutton", name=label)
        field.fill(value)
        field.press("Tab")
    generated(page)
    page.evaluate("window.scrollTo(0, 0)")
    save(page, "app.png")
    page.set_viewport_size({"width": 1260, "height": 900})
    page.get_by_role("tab", name="captions").click()
    panel = page.get_by_role("tabpanel")
    panel.get_by_label("Sentence").fill("a shiny red cube and a small cyan sphere")
    panel.get_by_label("Images", exact=True).and_(panel.get_by_role("spinbutton")).fill("3")
    generated(page)
    page.evaluate("window.scrollTo(0, 0)")
    save(page, "app_captions.png")
    page.close()


def generated(page: Page) -> None:
    panel = page.get_by_role("tabpanel")
    panel.get_by_role("button", name="Generate").click()
    panel.locator("[role=status]").filter(has_text="Done.").wait_for()
    page.wait_for_timeout(1000)  # the images fade in


def mlflow(browser: Browser, address: str) -> None:
    client = MlflowClient(STORE)
    experiment = client.get_experiment_by_name("iclevr")
    assert experiment is not None, "iclevr has no runs: `lockstep track`"
    place = f"{address}/#/experiments/{experiment.experiment_id}"
    page = opened(browser, f"{place}/runs", 1200, 720)
    page.get_by_role("button", name="Expand").first.wait_for()
    for _ in range(2):  # the training, then its sweep
        page.get_by_role("button", name="Expand").first.click()
        page.wait_for_timeout(1500)
    save(page, "mlflow_runs.png", colours=256)
    runs = client.search_runs([experiment.experiment_id], "attributes.run_name LIKE 'guidance %'")
    chosen = sorted(runs, key=lambda run: str(run.info.run_name))[:4]
    ids = ",".join(f'"{run.info.run_id}"' for run in chosen)
    page.goto(f'{address}/#/compare-runs?runs=[{ids}]&experiments=["{experiment.experiment_id}"]')
    page.get_by_text("Run details").wait_for()
    page.wait_for_timeout(3000)
    save(page, "mlflow_compare.png", colours=256)
    page.close()


def report(browser: Browser) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "iclevr.html"
        command = [sys.executable, "-m", "lockstep.cli", "report", "iclevr", "--out", str(path)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        page = opened(browser, path.as_uri(), 1150, 2300)
        page.wait_for_timeout(1000)
        save(page, "report.png", colours=256)
        page.close()


def plots(browser: Browser, scripts: Path | None) -> None:
    with TemporaryDirectory() as folder:
        command = ["dvc", "plots", "show", "--out", folder]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        page = browser.new_page(viewport={"width": 900, "height": 2100})
        if scripts is not None:
            page.route("https://**", lambda route: from_folder(route, scripts))
        page.goto((Path(folder) / "index.html").as_uri())
        page.wait_for_timeout(5000)
        save(page, "dvc_plots.png", colours=256)
        page.close()


def from_folder(route: Route, scripts: Path) -> None:
    """A script that is asked for as `https://HOST/npm/NAME@VERSION[/PATH]`."""
    name = urlsplit(route.request.url).path.removeprefix("/npm/").split("@")[0]
    route.fulfill(path=scripts / name / "build" / f"{name}.min.js")


if __name__ == "__main__":
    main()
