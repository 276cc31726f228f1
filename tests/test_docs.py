"""README.md, its translation and docs/: their links, what they say of the code, and the site."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest
from bs4 import BeautifulSoup
from markdown_it import MarkdownIt
from markdown_it.token import Token

from drill_table import BEGIN, END
from test_architecture import FILES, LEVELS, SRC, imports, room_of

ROOT = Path(__file__).resolve().parent.parent
README, TRANSLATED = ROOT / "README.md", ROOT / "README.zh-TW.md"
DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [README, TRANSLATED, ROOT / "CHANGELOG.md", *DOCS]
GITHUB = MarkdownIt("commonmark").enable("table")


def tokens(page: Path) -> Iterator[Token]:
    for token in GITHUB.parse(page.read_text("utf-8")):
        yield token
        yield from token.children or ()


def links(page: Path) -> list[str]:
    """Where its links and images lead, in their order."""
    found = (token.attrs.get("href", token.attrs.get("src")) for token in tokens(page))
    return [unquote(str(link)) for link in found if link is not None]


def anchors(page: Path) -> set[str]:
    """What GitHub calls its headings."""
    found: Counter[str] = Counter()
    names = set()
    heading = False
    for token in tokens(page):
        if heading:
            text = "".join(part.content for part in token.children or ())
            name = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
            names.add(f"{name}-{found[name]}" if found[name] else name)
            found[name] += 1
        heading = token.type == "heading_open"
    return names


def astray(page: Path) -> list[str]:
    """Those of its links that lead nowhere in the repository."""
    lost = []
    for link in links(page):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            lost.append(link)
    return lost


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    assert not astray(page)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_test_that_a_page_names_is_there(page: Path) -> None:
    named = re.findall(r"(test_\w+\.py)::(test_\w+)", page.read_text("utf-8"))
    assert not [
        f"{file}::{name}"
        for file, name in named
        if f"\ndef {name}(" not in (ROOT / "tests" / file).read_text("utf-8")
    ]


def marked() -> set[tuple[str, ...]]:
    """Of each test with the marker `drill`: section, what happens, what comes of it, its name."""
    found = set()
    for path in sorted((ROOT / "tests").glob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            for call in getattr(node, "decorator_list", []):
                if ast.unparse(call).startswith("pytest.mark.drill("):
                    words = tuple(ast.literal_eval(each) for each in call.args)
                    found.add((*words, f"{path.name}::{node.name}"))
    return found


def test_the_page_of_drills_is_of_all_drills_and_none_has_failed() -> None:
    """`make drills` writes it."""
    section, rows, results = "", set(), []
    text = (ROOT / "docs/reliability.md").read_text("utf-8")
    for line in text.partition(BEGIN)[2].partition(END)[0].splitlines():
        section = line.removeprefix("### ") if line.startswith("### ") else section
        if found := re.fullmatch(r"\| (.*) \| (.*) \| `(test_\w+\.py::\w+)` \| (.*) \|", line):
            *words, name, result = (each.replace(r"\|", "|") for each in found.groups())
            rows.add((section, *words, name))
            results.append(result)
    assert rows == marked()
    assert not [result for result in results if "failed" in result]


def test_a_link_astray_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# A `heading`, with marks\n\n# Twice\n\n# Twice\n\n[a](#a-heading-with-marks) "
        "[b](#twice-1) [c](page.md#twice) [d](#twice-2) ![e](none.png) [f](page.md#none) [g](https://x.org/#y)"
    )
    assert astray(page) == ["#twice-2", "none.png", "page.md#none"]


def blocks(page: Path) -> list[tuple[str, str]]:
    """Its blocks of code; of a shell's without what remarks say."""
    return [
        (
            token.info,
            re.sub(r" #.*", " #", token.content)
            if token.info in ("sh", "console")
            else token.content,
        )
        for token in tokens(page)
        if token.type in ("fence", "code_block")
    ]


def test_the_translation_has_the_code_of_the_readme() -> None:
    assert blocks(TRANSLATED) == blocks(README)


def test_the_translation_has_the_links_of_the_readme() -> None:
    each_other = {README.name, TRANSLATED.name}
    translated, original = (
        Counter(link for link in links(page) if link not in each_other)
        for page in (TRANSLATED, README)
    )
    assert translated == original


def test_the_translation_has_the_metrics_and_commands_of_the_readme() -> None:
    def said(page: Path) -> Counter[str]:
        text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.M | re.S)
        return Counter(re.findall(r"`[^`]+`|\b[0-9a-f]{7}\b|\d+\.\d+", text))

    assert said(TRANSLATED) == said(README)


ARCHITECTURE = ROOT / "docs" / "architecture.md"


def test_the_picture_of_the_packages_is_that_of_the_test() -> None:
    _, picture = blocks(ARCHITECTURE)[0]
    drawn = [set(line.split()) for line in picture.splitlines()]
    assert drawn == [set(rooms) for rooms in reversed(LEVELS)]


def test_the_table_of_the_packages_has_every_arrow() -> None:
    table = re.findall(r"^\| `(\w+)` \| .* \|(.*)\|$", ARCHITECTURE.read_text("utf-8"), re.M)
    arrows: dict[str, set[str]] = {room: set() for rooms in LEVELS for room in rooms}
    for path in FILES:
        if path != SRC / "__init__.py":
            modules = (name.split(".") for name in imports(path) if name.startswith("lockstep."))
            arrows[room_of(path)] |= {name[1] for name in modules}
    for room, others in arrows.items():
        others.discard(room)
    assert {room: set(re.findall(r"\w+", others)) for room, others in table} == arrows


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("mkdocs", reason="MkDocs is not installed: requirements-docs.lock")
    out = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(out)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        text=True,
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return out


def page_of(page: Path) -> str:
    special = {README.name: "index.html", TRANSLATED.name: "zh-TW.html"}
    return special.get(page.name, f"{page.stem.lower()}.html")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_site_shows_what_github_shows(site: Path, page: Path) -> None:
    """As many headings, items, cells, images and links: the two read Markdown differently."""
    html = BeautifulSoup((site / page_of(page)).read_text("utf-8"), "html.parser").article
    assert html is not None
    for own in html.select(".headerlink, .md-content__button"):
        own.decompose()
    github = BeautifulSoup(GITHUB.render(page.read_text("utf-8")), "html.parser")
    names = ["h1", "h2", "h3", "ul", "ol", "li", "table", "tr", "pre", "code", "img", "a"]

    def count(soup: BeautifulSoup) -> dict[str, int]:
        # Of the items of a list, only GitHub makes all paragraphs where one has two.
        return {name: len(soup.select(name)) for name in [*names, "p:not(li p)"]}

    assert count(html) == count(github)


def test_the_site_loads_nothing_from_elsewhere(site: Path) -> None:
    loaded = []
    for page in site.rglob("*.html"):
        soup = BeautifulSoup(page.read_text("utf-8"), "html.parser")
        loaded += [tag["src"] for tag in soup.select("[src]")]
        loaded += [tag["href"] for tag in soup.select("link[href]")]
        assert not soup.select(".mermaid")  # whose script comes from a CDN
    for style in site.rglob("*.css"):
        loaded += re.findall(r"(?:url\(|@import\s+)[\"']?([^)\"';]+)", style.read_text("utf-8"))
    assert loaded
    assert not [address for address in loaded if re.match(r"(https?:)?//", address)]
