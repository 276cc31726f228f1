"""Bring what a finished `make` gave into the pages: `make results`.

The pictures go into docs/. In README.md, its translation and docs/, a number before a remark such
as `<!--iclevr/evaluate accuracy_test-->`, which no reader sees, becomes that metric of
metrics/iclevr/evaluate.json, with as many decimals as it had.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lockstep.core.files import atomic_file
from lockstep.core.images import grid as images_as_grid
from lockstep.core.images import write_png

ROOT = Path(__file__).resolve().parent.parent
# The pictures of docs/, and which outputs they are.
PICTURES = {
    "iclevr_test.png": "plots/iclevr/sample/test.png",
    "iclevr_new_test.png": "plots/iclevr/sample/new_test.png",
    "iclevr_strip.png": "plots/iclevr/sample/strip.png",
    "faces.png": "plots/faces/sample/images.png",
    "anime.png": "plots/anime/sample/images.png",
    "anime_strip.png": "plots/anime/sample/strip.png",
    "anime_denoising.gif": "strips/anime/denoising.gif",
    "captions.png": "plots/captions/sample/test.png",
    "captions_strip.png": "plots/captions/sample/strip.png",
}
# The first images in these grids make hero.png, and a row of the README's table each.
GRIDS = ("iclevr_test.png", "faces.png", "anime.png", "captions.png")
_MARKED = re.compile(
    r"(?P<number>-?\d[\d,]*(?:\.(?P<decimals>\d+))?)"
    r"(?P<mark><!--(?P<file>[\w/]+) (?P<name>\w+)-->)"
)
_SIZE, _GAP = 64, 2  # pixels: of an image, between two


def pages() -> Iterator[Path]:
    """The pages that may say metrics."""
    yield from sorted(ROOT.glob("README*.md"))
    yield from sorted((ROOT / "docs").glob("*.md"))


def updated(text: str, metrics: Path) -> str:
    """A page with the metrics of metrics/ before its marks.

    Raises
    ------
    KeyError, FileNotFoundError
        If a mark names a metric that is not there.
    """

    def metric(found: re.Match[str]) -> str:
        value = json.loads((metrics / f"{found['file']}.json").read_text("utf-8"))[found["name"]]
        return f"{value:,.{len(found['decimals'] or '')}f}{found['mark']}"

    return _MARKED.sub(metric, text)


def first(grid: Path, count: int, per_row: int) -> NDArray[np.uint8]:
    """The first images of a grid of images of 64 x 64, as a grid of so many a row."""
    sheet = np.asarray(Image.open(grid).convert("RGB"))
    columns = (sheet.shape[1] + _GAP) // (_SIZE + _GAP)
    at = [divmod(i, columns) for i in range(count)]
    step = _SIZE + _GAP
    images = [sheet[y * step :, x * step :][:_SIZE, :_SIZE] for y, x in at]
    return images_as_grid(np.stack(images), per_row, _GAP)


def hero(docs: Path) -> NDArray[np.uint8]:
    """Sixteen images of each workload, side by side."""
    blocks = [first(docs / name, 16, 4) for name in GRIDS]
    return images_as_grid(np.stack(blocks), len(blocks), 4 * _GAP)


def main() -> None:
    """Write pictures and metrics; say which pictures there are none of."""
    docs = ROOT / "docs"
    for name, source in PICTURES.items():
        if (ROOT / source).exists():
            shutil.copyfile(ROOT / source, docs / name)
        else:
            print(f"{source}: is not there; docs/{name} stays", file=sys.stderr)
    for name in GRIDS:
        write_png(docs / name.replace(".png", "_few.png"), first(docs / name, 6, 3))
    write_png(docs / "hero.png", hero(docs))
    for page in pages():
        text = page.read_text("utf-8")
        if (new := updated(text, ROOT / "metrics")) != text:
            with atomic_file(page) as unfinished:
                unfinished.write_text(new, "utf-8")
            print(f"{page.relative_to(ROOT)}: new metrics")


if __name__ == "__main__":
    main()
