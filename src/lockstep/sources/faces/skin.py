"""What a face's colours tell: whether its nose is covered, and whether they are skin's."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

# Places between the 68 landmarks, as their numbers; none is where beards grow. The nose is compared
# with the four above it, and the second likest counts: a curl or glasses may cover others.
_ABOVE = ((21, 22), (27,), (40, 41), (46, 47))  # between the brows, the bridge, the lower lids
_NOSE = ((30,), (30, 33), (29, 31), (29, 35))
_BELOW_LIDS = 0.043  # as a share of the crop's side: the skin there, not the lashes
_REACH = 0.0175  # half the side of the square that is averaged
_BLUR = 0.008

SKIN_HUE = 60.0
"""Of skin in CIELAB, in degrees: 35 to 80 in photographs, whoever it is."""
_LEAST_CHROMA = 8.0  # of less colour than this the hue means nothing


def cover_and_tint(crop: NDArray[np.uint8], landmarks: NDArray[np.float64]) -> tuple[float, float]:
    """How far the nose's colour is from the skin's above it, and how far that is from skin's hue.

    `crop` is (side, side, 3), `landmarks` (68, 2) in its pixels. The first is a distance in CIELAB
    where lightness counts half, since light and shade change it: 2 to 10 of a bare face, 15 and
    more of one behind a mask. The second is in degrees, 0 to 180, and 0 of a face without colour.
    """
    side = crop.shape[0]
    soft = cv2.GaussianBlur(crop, (0, 0), _BLUR * side).astype(np.float32) / 255
    lab = cv2.cvtColor(soft, cv2.COLOR_RGB2LAB)
    above = np.stack([landmarks[list(place)].mean(0) for place in _ABOVE])
    above[2:, 1] += _BELOW_LIDS * side
    nose = np.stack([landmarks[list(place)].mean(0) for place in _NOSE])
    around, tip = _colours(lab, above), np.median(_colours(lab, nose), axis=0)
    cover = float(np.sort(np.linalg.norm((tip - around) * (0.5, 1, 1), axis=1))[1])
    skin = np.median(around, axis=0)
    if math.hypot(skin[1], skin[2]) < _LEAST_CHROMA:
        return cover, 0.0
    hue = math.degrees(math.atan2(skin[2], skin[1]))
    return cover, abs((hue - SKIN_HUE + 180) % 360 - 180)


def _colours(lab: NDArray[np.float32], places: NDArray[np.float64]) -> NDArray[np.float64]:
    """The colour (N, 3) around each of the places (N, 2)."""
    side = lab.shape[0]
    reach = max(1, round(_REACH * side))
    return np.array(
        [
            lab[y - reach : y + reach + 1, x - reach : x + reach + 1].mean((0, 1))
            for x, y in np.clip(places.round().astype(int), reach, side - 1 - reach)
        ],
        np.float64,
    )
