"""How long it takes to find and choose the faces in large photographs, and how much memory.

`python -m benchmarks.photographs COUNT` makes so many JPEGs of 12 megapixels, each with
a drawn face of 90 to 900 pixels on noise, adds them as a user would (`lockstep new NAME FOLDER
--faces`), and prints seconds, megapixels a second, faces found and kept, and the peak resident
memory of the largest process of the stage `collect`.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks import stage
from lockstep.synthetic.portraits import annotated_faces, draw
from lockstep.synthetic.portraits.plans import kind_of

_W = "portraits"
_WIDTH, _HEIGHT = 4000, 3000
_WIDTHS = (90, 900)
"""Of the faces, where the portrait around them leaves room."""


def photograph(portrait: int, number: int) -> NDArray[np.uint8]:
    """(H, W, 3) RGB: one portrait somewhere on a soft, noisy background."""
    random = np.random.default_rng(number)
    colours = random.integers(60, 200, (3, 4, 3)).astype(np.uint8)
    image = cv2.resize(colours, (_WIDTH, _HEIGHT), interpolation=cv2.INTER_CUBIC)
    face, drawn = annotated_faces(0, portrait)[0], draw(0, portrait)
    width = np.exp(random.uniform(*np.log(_WIDTHS)))
    room = min(_HEIGHT / drawn.shape[0], _WIDTH / drawn.shape[1])
    scale = min(width / (face.box.right - face.box.left), room)
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    small = cv2.resize(drawn, None, fx=scale, fy=scale, interpolation=how)
    top = random.integers(0, _HEIGHT - small.shape[0] + 1)
    left = random.integers(0, _WIDTH - small.shape[1] + 1)
    image[top : top + small.shape[0], left : left + small.shape[1]] = small
    noise = cv2.randn(np.empty(image.shape, np.int16), (0,) * 3, (4,) * 3)
    return np.clip(image.astype(np.int16) + noise, 0, 255).astype(np.uint8)


def _write(folder: Path, count: int) -> None:
    folder.mkdir()
    cv2.setRNGSeed(0)
    portraits = (number for number in range(100 * count) if kind_of(0, number) == "portrait")
    for number, portrait in zip(range(count), portraits, strict=False):
        image = cv2.cvtColor(photograph(portrait, number), cv2.COLOR_RGB2BGR)
        path = folder / f"{number}.jpg"
        path.write_bytes(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes())


def _main(count: int) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "params.yaml").write_bytes((stage.ROOT / "params.yaml").read_bytes())
        stage.prepare(folder)
        _write(folder / "photographs", count)
        new = ["new", _W, "photographs", "--faces"]
        subprocess.run([sys.executable, "-m", "lockstep.cli", *new], cwd=folder, check=True)
        stage.run("check", _W, folder)
        cost = stage.run("collect", _W, folder)
        faces = json.loads((folder / f"metrics/{_W}/collect.json").read_text("utf-8"))
        rate = count * _WIDTH * _HEIGHT / 1e6 / cost.seconds
        print(
            f"{count} photographs: {cost.seconds:.0f} s, {rate:.1f} megapixels a second, "
            f"{faces['found']} faces found, {faces['kept']} kept, "
            f"peak {cost.resident / 2**30:.2f} GiB"
        )


if __name__ == "__main__":
    _main(int(sys.argv[1]))
