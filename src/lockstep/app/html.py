"""Images and what is said of them as HTML: nothing in it is fetched, every text is escaped."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from io import BytesIO

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from numpy.typing import NDArray
from PIL import Image

from lockstep.app.draw import Finished, Progress
from lockstep.app.verdict import Verdict
from lockstep.core.images import grid

_PER_ROW = 8
_ENVIRONMENT = Environment(
    loader=PackageLoader("lockstep.app"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_MARKS = {
    "right": ("✓", ""),
    "missing": ("✗", " is missing"),
    "unasked": ("✗", " was not asked for"),
    "size": ("✗", " in the wrong size"),
}


def results(titles: Sequence[str], sides: Sequence[Progress | Finished | None], seed: int) -> str:
    """The sides beside each other under their titles; None for one that has not begun."""
    shown = [
        (title, None if side is None else _side(side, seed))
        for title, side in zip(titles, sides, strict=True)
    ]
    return _ENVIRONMENT.get_template("results.html").render(sides=shown, marks=_MARKS)


def status(line: str, notes: Sequence[str] = (), *, failed: bool = False) -> str:
    """A line that says how it stands, and notes below it."""
    template = _ENVIRONMENT.get_template("status.html")
    return template.render(line=line, notes=notes, failed=failed)


def _side(side: Progress | Finished, seed: int) -> dict[str, object]:
    sheet = _source(grid(side.images, per_row=_PER_ROW))
    if isinstance(side, Progress):
        return {"done": side.done, "steps": side.steps, "sheet": sheet}
    verdicts: Sequence[Verdict | None] = side.verdicts or [None] * len(side.images)
    nearest: Sequence[Sequence[NDArray[np.uint8]]] = (
        [()] * len(side.images) if side.nearest is None else [list(row) for row in side.nearest]
    )
    known = [one.right for one in verdicts if one is not None and one.right is not None]
    cards = [
        {"image": _source(image), "verdict": verdict, "nearest": [_source(one) for one in near]}
        for image, verdict, near in zip(side.images, verdicts, nearest, strict=True)
    ]
    return {"cards": cards, "sheet": sheet, "seed": seed, "right": sum(known), "of": len(known)}


def _source(image: NDArray[np.uint8]) -> str:
    """(H, W, 3) bytes as the address of a PNG that is in the page itself."""
    file = BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return f"data:image/png;base64,{b64encode(file.getvalue()).decode()}"
