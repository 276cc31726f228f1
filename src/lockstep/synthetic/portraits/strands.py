"""Noise drawn out along the hair."""

from __future__ import annotations

import cv2
import numpy as np

from lockstep.synthetic.portraits.head import Array


def streaks(rng: np.random.Generator) -> Array:
    """(64, 512) noise around 0, long down the columns."""
    fine = cv2.resize(rng.normal(0, 1, (16, 512)).astype(np.float32), (512, 64))
    locks = cv2.resize(rng.normal(0, 1, (6, 40)).astype(np.float32), (512, 64))
    return 0.75 * fine + 0.8 * locks


def flow(grain: Array, angle: Array, y: Array) -> Array:
    """The noise where hair hangs: `angle` around the head in radians, `y` downwards."""
    columns = (angle + 0.12 * np.sin(y * 2.2)) * (512 / (2 * np.pi) * 1.6) + 256
    rows = (y + 1.8) * 12
    return cv2.remap(
        grain,
        columns.astype(np.float32),
        rows.astype(np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_WRAP,
    )
