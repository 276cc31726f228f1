"""Take the screenshots of the app and the report anew, of a finished `make` in the current folder.

    make app && pip install --no-deps --requirement requirements-browser.lock
    python -m tools.screenshots

It wants Debian's package `chromium`. Those of MLflow and DVC were taken by hand.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

DOCS = Path(__file__).resolve().parent.parent / "docs"
_PATIENCE = 120  # seconds


def main() -> None:
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"))
        with served() as address:
            app(browser, address)
        report(browser)
        browser.close()


@contextmanager
def served() -> Iterator[str]:
    """The address of `lockstep app` on a free port, for as long as the block lasts."""
    command = [sys.executable, "-m", "lockstep.cli", "app", "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().split()[0]
    finally:
        process.terminate()
        process.wait()


def opened(browser: Browser, address: str, width: int, height: int) -> Page:
    page = browser.new_page(viewport={"width": width, "height": height})
    page.set_default_timeout(1000 * _PATIENCE)
    page.goto(address)
    return page


def save(page: Page, name: str, *, colours: int | None = None) -> None:
    """A PNG into docs/, with a palette where few `colours` will do."""
    path = DOCS / name
    page.screenshot(path=path)
    if colours is not None:
        with Image.open(path) as image:
            reduced = image.convert("RGB").quantize(colours)
        reduced.save(path, optimize=True)
    print(path.name)


def app(browser: Browser, address: str) -> None:
    page = opened(browser, address, 1260, 1100)
    page.get_by_role("tab", name="iclevr").click()
    panel = page.get_by_role("tabpanel")
    panel.get_by_label("gray cube").uncheck()  # which is ticked at first
    for name in ("red cube", "cyan sphere"):
        panel.get_by_label(name).check()
    panel.get_by_label("number input for Images").fill("4")
    panel.get_by_label("Compare").check()
    for label, value in (("Guidance (second)", "4"), ("Classifier guidance (second)", "0")):
        field = panel.get_by_label(f"number input for {label}", exact=True)
        field.fill(value)
        field.press("Tab")
    generate(page)
    save(page, "app.png")
    page.set_viewport_size({"width": 1260, "height": 900})
    page.get_by_role("tab", name="captions").click()
    panel = page.get_by_role("tabpanel")
    panel.get_by_label("Sentence").fill("a shiny red cube and a small cyan sphere")
    panel.get_by_label("number input for Images").fill("3")
    generate(page)
    save(page, "app_captions.png")
    page.close()


def generate(page: Page) -> None:
    """Press the button, wait for the images, and go back to the top of the page."""
    panel = page.get_by_role("tabpanel")
    panel.get_by_role("button", name="Generate").click()
    panel.locator("[role=status]").filter(has_text="Done.").wait_for()
    page.wait_for_timeout(1000)  # the images fade in
    page.evaluate("window.scrollTo(0, 0)")


def report(browser: Browser) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "iclevr.html"
        command = [sys.executable, "-m", "lockstep.cli", "report", "iclevr", "--out", str(path)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        page = opened(browser, path.as_uri(), 1150, 2300)
        page.wait_for_timeout(1000)
        save(page, "report.png", colours=256)
        page.close()


if __name__ == "__main__":
    main()
