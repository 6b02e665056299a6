"""What the empty sheet would look like, and how far each pixel of a photo stands off from it."""

import math
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from cv2.typing import MatLike

# OpenCV's annotations know one type of array; which one is meant is said by these names: a photo and a mask hold
# uint8, a plane float32.
Photo = MatLike
Plane = MatLike
Mask = MatLike

# Light falls off smoothly over a sheet, so its shape is all there on a picture this many times smaller.
MODEL_REDUCTION = 8
# Insects cover part of the sheet; each round leaves out what stood off in the round before.
FIT_ROUNDS = 6
# What lies further off than this many robust standard deviations is taken for something on the sheet.
OUTLIER_SPREADS = 2.5
# An overexposed sheet has no spread at all; below this CIELAB distance a pixel is never an outlier.
SMALLEST_OUTLIER_DISTANCE = 2.0
# Turns a median absolute deviation into a standard deviation, for normally distributed noise.
SPREAD_OF_MEDIAN_DEVIATION = 1.4826
# Keeps the fit solvable on a photo of one single colour; far below what a real photo's terms weigh.
FIT_RIDGE = 1e-3
# The local correction follows folds and shadows wider than this share of the photo's height, never an insect.
LOCAL_REACH = 1 / 12
# Keeps the local correction near zero where nearly nothing of the sheet is seen.
LOCAL_DAMPING = 0.05
# Smooths away the weave of the cloth, which is one or two pixels wide at the working scale.
WEAVE_SIGMA = 1.0
# Two sigmas to each side; the tails beyond would double the time.
WEAVE_KERNEL = (5, 5)
# A pale moth differs little from the sheet but does so over a large area; averaging brings it out, at half scale.
PALE_SIGMA = 1.5
# A brown wing differs from a white sheet in hue more surely than in lightness, which shadows also change.
HUE_WEIGHT = 1.22
# OpenCV stretches lightness to 0..255 in 8 bits; this brings it back to 0..100, the unit of the two hue planes.
LIGHTNESS_UNIT = 100 / 255
SUM_OF_PLANES = np.ones((1, 3), dtype=np.float32)
PLANE_WEIGHTS = np.array([LIGHTNESS_UNIT, HUE_WEIGHT, HUE_WEIGHT], dtype=np.float32)
# An information bar is printed over the photo from side to side; text and insects leave at most some gaps in it.
BAR_DISTANCE = 8.0
BAR_COVERAGE = 0.7
# So many lines beside a bar are mixed with it.
BAR_BLUR = 2
# No camera gives more of the photo's height or width than this to a bar or a margin.
WIDEST_BAR = 0.15


@dataclass(frozen=True, slots=True)
class Extent:
    """The part of a photo that shows the sheet, as slice limits in pixels."""

    top: int
    bottom: int
    left: int
    right: int


@dataclass(frozen=True, slots=True)
class SheetDifference:
    """How far each pixel stands off from the sheet, in CIELAB units; zero on bars and margins.

    ``fine`` has the photo's shape and keeps small insects sharp. ``broad`` has half of it and is averaged over an
    area, so that pale wings rise above the noise. ``spread`` is the median of ``fine``: how grainy the sheet is.
    """

    fine: Plane
    broad: Plane
    spread: float
    extent: Extent


def difference_from_sheet(photo: Photo) -> SheetDifference:
    """Measure how far each pixel of a BGR photo (height, width, 3) stands off from the sheet behind it."""
    height, width = photo.shape[:2]
    colours = _weighted_colours(photo)
    reduced = cv2.resize(colours, (width // MODEL_REDUCTION, height // MODEL_REDUCTION), interpolation=cv2.INTER_AREA)
    sheet = _sheet_colours(reduced)
    stand_off = colours - cv2.resize(sheet, (width, height), interpolation=cv2.INTER_LINEAR)
    halved = cv2.resize(stand_off, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    fine = _length(cv2.GaussianBlur(stand_off, WEAVE_KERNEL, WEAVE_SIGMA))
    broad = _length(cv2.GaussianBlur(halved, (0, 0), PALE_SIGMA))
    extent = _extent(fine > BAR_DISTANCE)
    _clear_outside(extent, fine, 1)
    _clear_outside(extent, broad, 2)
    return SheetDifference(fine, broad, float(np.median(fine[::2, ::2])), extent)


def _weighted_colours(photo: Photo) -> Plane:
    """Give the photo's CIELAB colours, scaled so that the plain distance between two of them is the one wanted."""
    weighted: Plane = cv2.cvtColor(photo, cv2.COLOR_BGR2LAB) * PLANE_WEIGHTS
    return weighted


def _length(stand_off: Plane) -> Plane:
    return cv2.sqrt(cv2.transform(cv2.multiply(stand_off, stand_off), SUM_OF_PLANES))


def _clear_outside(extent: Extent, plane: Plane, reduction: int) -> None:
    plane[: math.ceil(extent.top / reduction)] = 0
    plane[extent.bottom // reduction :] = 0
    plane[:, : math.ceil(extent.left / reduction)] = 0
    plane[:, extent.right // reduction :] = 0


def _extent(covered: npt.NDArray[np.bool_]) -> Extent:
    top, bottom = _inner_limits(covered.mean(axis=1))
    left, right = _inner_limits(covered[top:bottom].mean(axis=0))
    return Extent(top, bottom, left, right)


def _inner_limits(covered: npt.NDArray[np.float64]) -> tuple[int, int]:
    reach = int(len(covered) * WIDEST_BAR)
    first = _bar_lines(covered[:reach])
    last = _bar_lines(covered[::-1][:reach])
    return first, len(covered) - last


def _bar_lines(covered: npt.NDArray[np.float64]) -> int:
    lines = np.flatnonzero(covered > BAR_COVERAGE)
    return int(lines[-1]) + 1 + BAR_BLUR if len(lines) else 0


def _sheet_colours(colours: Plane) -> Plane:
    smooth, empty = _smooth_sheet(colours)
    reach = colours.shape[0] * LOCAL_REACH
    weights = cv2.erode(empty, np.ones((3, 3), np.uint8)).astype(np.float32)
    leftover = cv2.GaussianBlur((colours - smooth) * weights[..., None], (0, 0), reach)
    coverage = cv2.GaussianBlur(weights, (0, 0), reach)
    return smooth + leftover / (coverage[..., None] + LOCAL_DAMPING)


def _smooth_sheet(colours: Plane) -> tuple[Plane, Mask]:
    height, width = colours.shape[:2]
    terms = _illumination_terms(height, width)
    values = colours.reshape(-1, 3)
    empty = np.ones(len(values), dtype=np.float32)
    for _ in range(FIT_ROUNDS):
        model = terms @ _fitted_weights(terms, values, empty)
        distance = np.linalg.norm(values - model, axis=1)
        spread = SPREAD_OF_MEDIAN_DEVIATION * float(np.median(distance[empty > 0]))
        empty = (distance < max(OUTLIER_SPREADS * spread, SMALLEST_OUTLIER_DISTANCE)).astype(np.float32)
    return model.reshape(height, width, 3), empty.reshape(height, width).astype(np.uint8)


def _fitted_weights(terms: Plane, values: Plane, empty: Plane) -> Plane:
    weighted = (terms * empty[:, None]).T
    ridge = FIT_RIDGE * np.eye(terms.shape[1], dtype=np.float32)
    return np.linalg.solve(weighted @ terms + ridge, weighted @ values)


def _illumination_terms(height: int, width: int) -> Plane:
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    x = (columns / width * 2 - 1).ravel()
    y = (rows / height * 2 - 1).ravel()
    terms = (np.ones_like(x), x, y, x * x, x * y, y * y, x**4, y**4, x * x * y, x * y * y)
    return np.stack(terms, axis=1)
