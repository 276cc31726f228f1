"""`lockstep app` in a real browser, against a real server on loopback.

It wants requirements-app.lock, Playwright's Python package, and Debian's package `chromium`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from app_project import (
    write_labelled,
    write_params,
    write_prompted,
    write_surroundings,
    write_unconditional,
)
from tiny import ROOT

pytest.importorskip("gradio", reason="Gradio is not installed: requirements-app.lock")
playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
if CHROMIUM is None:
    pytest.skip("no Chromium here: apt-get install chromium", allow_module_level=True)
pytestmark = [pytest.mark.long, pytest.mark.pipeline]
_PATIENCE = 150_000  # milliseconds, on a busy machine


_SAYS = "[role=status], [role=alert]"


@dataclass
class Visit:
    """A tab of the browser, and what it has asked for and complained of."""

    page: playwright.Page
    asked: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def open(self, workload: str) -> playwright.Locator:
        """A workload's tab on the page."""
        self.page.get_by_role("tab", name=workload).click()
        return self.page.get_by_role("tabpanel")  # the others are hidden

    def press(self, panel: playwright.Locator) -> None:
        """Press until the page says something new: while a press is running it takes no other."""
        panel.locator(_SAYS).evaluate_all("all => all.forEach(one => { one.dataset.old = 1 })")
        for _ in range(60):
            panel.get_by_role("button", name="Generate").click()
            try:
                panel.locator(_SAYS).and_(panel.locator(":not([data-old])")).wait_for(timeout=5000)
                return
            except playwright.TimeoutError:
                continue
        raise AssertionError("no press was taken")

    def remember_images(self) -> None:
        """Keep the names of all images that are shown from now on, be it for a moment."""
        self.page.evaluate(
            """() => {
                window.shown = new Set();
                const look = () => document.querySelectorAll("img").forEach(
                    one => window.shown.add(one.alt));
                new MutationObserver(look).observe(
                    document.body, {subtree: true, childList: true, attributes: true});
            }"""
        )

    def remembered(self) -> list[str]:
        names: list[str] = self.page.evaluate("() => [...window.shown]")
        return names

    def pressed(self, panel: playwright.Locator) -> None:
        """Press, and wait until all is there."""
        self.press(panel)
        done = panel.locator("[role=status]:not([data-old])")
        done.filter(has_text="Done.").wait_for()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Two tiny models and one that is not trained, and the folder as the current one."""
    root, before = tmp_path_factory.mktemp("app"), Path.cwd()
    os.chdir(root)
    try:
        write_params()
        write_labelled("iclevr")
        write_surroundings("iclevr")
        write_prompted("captions")
        write_unconditional("faces")
        yield root
    finally:
        os.chdir(before)


@contextmanager
def served(*arguments: str) -> Iterator[str]:
    """The address of `lockstep app` in the current folder."""
    server = subprocess.Popen(
        [sys.executable, "-m", "lockstep.cli", "app", *arguments, "--port", "0"],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        text=True,
        stdout=subprocess.PIPE,
    )
    assert server.stdout is not None
    try:
        said = server.stdout.readline()
        assert said.startswith("http://127.0.0.1:"), said
        yield said.split()[0]
    finally:
        server.terminate()
        server.wait(60)
        server.stdout.close()


@pytest.fixture(scope="module")
def address(project: Path) -> Iterator[str]:
    with served() as found:
        yield found


@pytest.fixture(scope="module")
def visit(address: str) -> Iterator[Callable[..., Visit]]:
    """Opens a tab each time it is called: of the page, or of another server's."""
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM)
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        context.set_default_timeout(_PATIENCE)

        def call(where: str = address) -> Visit:
            seen = Visit(context.new_page())
            seen.page.on("request", lambda request: seen.asked.append(request.url))
            seen.page.on(
                "console",
                lambda message: (
                    seen.complaints.append(message.text) if message.type == "error" else None
                ),
            )
            seen.page.on("pageerror", lambda error: seen.complaints.append(str(error)))
            seen.page.goto(where)
            seen.page.get_by_role("tab").first.wait_for()
            return seen

        yield call
        browser.close()


def test_objects_are_ticked_and_images_come_with_verdicts_and_neighbours(
    visit: Callable[..., Visit], address: str
) -> None:
    seen = visit()
    panel = seen.open("iclevr")
    panel.get_by_label("red cube").uncheck()
    panel.get_by_label("blue <cylinder>").check()
    panel.get_by_label("Seed").fill("7")
    panel.get_by_label("number input for Steps", exact=True).fill("50")
    seen.remember_images()
    panel.get_by_role("button", name="Generate").click()
    panel.get_by_text("Done.").wait_for()
    assert any(name.startswith("All images after step") for name in seen.remembered())
    images = panel.get_by_role("region", name="Images")
    for number in range(1, 4):
        assert images.get_by_alt_text(f"Image {number}, seed 7").is_visible()
        verdict = images.get_by_role("list", name=f"in image {number}")
        for name in ("cyan sphere", "blue <cylinder>"):  # seen or missing
            assert name in verdict.inner_text()
    assert images.get_by_alt_text("Training image").count() == 3 * 3
    with seen.page.expect_download() as saved:
        images.get_by_role("link", name="Save as one PNG").click()
    assert saved.value.suggested_filename == "images.png"
    # Nothing came from anywhere else, not even a font, and the policy forbade nothing.
    hosts = {urlsplit(url).netloc for url in seen.asked if not url.startswith("data:")}
    assert hosts == {urlsplit(address).netloc}
    assert seen.complaints == []


def test_two_settings_side_by_side(visit: Callable[..., Visit]) -> None:
    seen = visit()
    panel = seen.open("faces")
    assert panel.get_by_label("Guidance").count() == 0  # nothing can be asked for
    panel.get_by_label("number input for Images").fill("2")
    panel.get_by_label("Compare with other settings").check()
    panel.get_by_label("Weights (second)").wait_for()
    panel.get_by_label("number input for Steps (second)").fill("2")
    seen.pressed(panel)
    sources = [
        panel.get_by_role("region", name=name)
        .get_by_alt_text("Image 2, seed 0")
        .get_attribute("src")
        for name in ("First", "Second")
    ]
    assert None not in sources
    assert sources[0] != sources[1]


def test_a_class_is_chosen_and_another_model_compared(
    visit: Callable[..., Visit], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_params()
    write_labelled("faces", condition="classes")
    write_labelled("faces", seed=1, folder=Path("before"), condition="classes")
    with served("faces", "--model", "before") as where:
        seen = visit(where)
        panel = seen.open("faces")
        panel.get_by_label("Class").click()
        seen.page.get_by_role("option", name="blue <cylinder>").click()
        panel.get_by_label("Compare with other settings").check()
        panel.get_by_label("Weights (second)").click()
        seen.page.get_by_role("option", name="before: ema").click()
        seen.pressed(panel)

        def sources() -> list[str | None]:
            return [
                panel.get_by_role("region", name=name)
                .get_by_alt_text("Image 1, seed 0")
                .get_attribute("src")
                for name in ("First", "Second")
            ]

        cylinders = sources()
        assert None not in cylinders and cylinders[0] != cylinders[1]
        panel.get_by_label("Class").click()
        seen.page.get_by_role("option", name="red cube").click()
        seen.pressed(panel)
        assert not {*sources()} & {*cylinders}
        assert seen.complaints == []
        seen.page.close()


def test_the_ends_of_a_narrow_slider_can_be_read(visit: Callable[..., Visit]) -> None:
    seen = visit()
    seen.page.set_viewport_size({"width": 1100, "height": 900})
    panel = seen.open("faces")
    slider = panel.locator(".slider_input_container").first
    assert slider.inner_text().split() == ["1", "32"]
    whole, shown = slider.evaluate("one => [one.scrollWidth, one.clientWidth]")
    assert whole <= shown


def test_two_tabs_at_once_take_turns_and_keep_apart(visit: Callable[..., Visit]) -> None:
    tabs = [visit(), visit()]
    panels = [tab.open("iclevr") for tab in tabs]
    for number, panel in enumerate(panels):
        panel.get_by_label("Seed").fill(str(number + 1))
    for tab, panel in zip(tabs, panels, strict=True):
        tab.press(panel)
    for number, panel in enumerate(panels):
        panel.get_by_text("Done.").wait_for()
        assert panel.get_by_alt_text(f"Image 1, seed {number + 1}").is_visible()
        assert panel.get_by_alt_text(f"Image 1, seed {2 - number}").count() == 0


def test_long_and_strange_sentences(visit: Callable[..., Visit]) -> None:
    seen = visit()
    panel = seen.open("captions")
    sentence = panel.get_by_label("Sentence")
    sentence.fill("a red zebra <img src=x onerror=alert(1)>")
    seen.pressed(panel)
    assert "not among the training's words: zebra, img, src" in panel.inner_text()
    sentence.fill("a red cube " * 909)
    seen.pressed(panel)
    panel.get_by_text("the prompt is too long: its last 2719 words are left out").wait_for()
    sentence.fill("z" * 10_001)
    seen.press(panel)
    panel.get_by_role("alert").wait_for()
    assert "has 10001 characters; write 10000 or fewer" in panel.get_by_role("alert").inner_text()
    assert panel.get_by_alt_text("Image 1, seed 0").is_visible()  # nothing is lost
    assert seen.complaints == []


def test_a_model_that_goes_and_comes_while_the_page_is_open(
    visit: Callable[..., Visit], project: Path
) -> None:
    seen = visit()
    panel = seen.open("anime")
    missing = "models/anime/provenance.json: missing; `dvc repro` makes it"
    assert missing in panel.get_by_role("alert").inner_text()
    write_unconditional("anime")
    seen.page.reload()
    panel = seen.open("anime")
    seen.pressed(panel)
    before = panel.get_by_alt_text("Image 1, seed 0").get_attribute("src")
    shutil.rmtree("models/anime")
    seen.press(panel)
    panel.get_by_role("alert").wait_for()
    assert missing in panel.get_by_role("alert").inner_text()
    assert panel.get_by_alt_text("Image 1, seed 0").get_attribute("src") == before
    write_unconditional("anime", seed=1)
    seen.pressed(panel)
    assert panel.get_by_alt_text("Image 1, seed 0").get_attribute("src") != before


def test_no_other_route_answers(address: str) -> None:
    for path in ("gradio_api/file=params.yaml", "file=params.yaml", "gradio_api/vibe-code", "docs"):
        assert requests.get(f"{address}/{path}", timeout=300).status_code == 404
    files = {"files": ("x.txt", b"mine")}
    assert (
        requests.post(f"{address}/gradio_api/upload", files=files, timeout=300).status_code == 404
    )
    answered = requests.get(address, headers={"Host": "evil.example"}, timeout=300)
    assert answered.status_code == 400
    assert (
        "default-src 'self'"
        in requests.get(address, timeout=300).headers["Content-Security-Policy"]
    )
