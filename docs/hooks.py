"""MkDocs' hooks: pages that lie at the root for GitHub become pages of the site."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

PAGES = {
    "README.md": "index.md",
    "README.zh-TW.md": "zh-TW.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
}
_LINK = re.compile(r"\]\((?P<up>\.\./)?(?P<path>[^)#\s]+)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Take the pages of the root in among those of docs/."""
    root = Path(config.config_file_path).parent
    for name, page in PAGES.items():
        files.append(File.generated(config, page, abs_src_path=str(root / name)))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Lead links to where the site has what the repository has elsewhere."""
    at_root = page.file.src_uri in PAGES.values()

    def moved(link: re.Match[str]) -> str:
        path = link["path"]
        if at_root or link["up"]:
            return f"]({PAGES.get(path, path.removeprefix('docs/'))}"
        return link[0]

    return _LINK.sub(moved, markdown)
