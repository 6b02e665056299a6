"""Finds insects on a light sheet as blobs that stand off from it: thresholds and shapes, no trained model."""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from headcount_worker.examples.regions import (
    Region,
    apart_from,
    cards_among,
    doubled,
    join_pale_wings,
    looks_like_an_insect,
    measure,
    without_fragments,
)
from headcount_worker.examples.sheet import Mask, Photo, Plane, SheetDifference, difference_from_sheet
from headcount_worker.examples.touching import Part, connected_patches, separate_parts

# Every camera's photo is brought to this length of its longer side, so that one set of sizes serves them all.
WORKING_LENGTH = 1024
# Below this many working pixels of height or width there is no sheet to tell an insect from.
SMALLEST_WORKING_SIDE = 64
# CIELAB distances: a blob needs a core this far from the sheet, and reaches out to where it fades to the second.
CORE_DISTANCE = 22.0
EDGE_DISTANCE = 10.0
# On a grainy sheet the edge is sought this many times above the sheet's own median stand-off, the core twice that.
EDGE_SPREADS = 6.0
CORE_TO_EDGE = 2.0
# Next to a dark insect its blur and its shadow end where they fall below this share of the insect's own distance.
EDGE_SHARE = 0.25
# How far that blur reaches, in pixels at half the working scale.
SHADOW_REACH = 9
# The same for pale wings, which are looked for in the averaged plane only.
PALE_CORE_DISTANCE = 7.0
PALE_EDGE_DISTANCE = 4.0
PALE_EDGE_SPREADS = 3.0
PALE_CORE_TO_EDGE = 1.5
# A blob this far from the sheet on average is no part of a pale moth.
NOT_PALE_DISTANCE = 30.0
# The averaged plane shows a dark insect's blur around it, this many half-scale pixels wide.
BLUR_REACH = 7
# Averaging makes stains of creases and specks; wings are wider than this many half-scale pixels ...
PALE_NARROWEST = 5
# ... and cover at least this many working pixels.
PALE_SMALLEST_AREA = 700
# Fragments of one insect (a patterned wing, a leg in front of the body) lie this close, in working pixels.
JOIN_REACH = 3
# The score reaches two thirds at this CIELAB distance and this length in working pixels.
SCORE_DISTANCE = 14.0
SCORE_LENGTH = 8.0
# Below this score a small dark thing is more often dirt, or a stitch of a seam, than an insect. Pale moths score low
# by their nature and are told from stains by their area instead.
LOWEST_CLEAR_SCORE = 0.51


@dataclass(frozen=True, slots=True)
class Blob:
    """A box around something on the sheet, in pixels of the photo as given, with a score from 0 to 1."""

    x1: float
    y1: float
    x2: float
    y2: float
    score: float


def find_blobs(photo: Photo) -> list[Blob]:
    """Find what sits on the sheet of a BGR photo (height, width, 3), the surest first; boxes in pixels."""
    height, width = photo.shape[:2]
    scale = WORKING_LENGTH / max(height, width)
    size = (round(width * scale), round(height * scale))
    if min(size) < SMALLEST_WORKING_SIDE:
        return []
    difference = difference_from_sheet(_shrunk(photo, size))
    blobs = [_blob(region, width / size[0], height / size[1]) for region in _insects(difference)]
    return sorted(blobs, key=lambda blob: blob.score, reverse=True)


def _shrunk(photo: Photo, size: tuple[int, int]) -> Photo:
    # Halving averages and is fast; the last step, to between a half and the whole, may interpolate without aliasing.
    while photo.shape[1] >= 2 * size[0] and photo.shape[0] >= 2 * size[1]:
        photo = cv2.resize(photo, (photo.shape[1] // 2, photo.shape[0] // 2), interpolation=cv2.INTER_AREA)
    return cv2.resize(photo, size, interpolation=cv2.INTER_LINEAR)


def _insects(difference: SheetDifference) -> list[Region]:
    patches = list(connected_patches(_clear_mask(difference)))
    cards = cards_among([measure(patch, difference.fine) for patch in patches])
    parts = list(separate_parts(patches))
    clear = [measure(part, difference.fine) for part in parts]
    dark = [part for part, region in zip(parts, clear, strict=True) if region.strength > NOT_PALE_DISTANCE]
    wings = _pale_wings(difference, dark)
    things = without_fragments(join_pale_wings(apart_from(cards, clear), apart_from(cards, wings)))
    return [thing for thing in things if _is_sure(thing) and looks_like_an_insect(thing, difference.extent)]


def _pale_wings(difference: SheetDifference, dark: list[Part]) -> list[Region]:
    parts = separate_parts(connected_patches(_pale_mask(difference, dark)))
    wings = [doubled(measure(part, difference.broad)) for part in parts]
    large = [wing for wing in wings if wing.area >= PALE_SMALLEST_AREA]
    return [wing for wing in large if looks_like_an_insect(wing, difference.extent)]


def _is_sure(thing: Region) -> bool:
    return thing.pale or _score(thing) >= LOWEST_CLEAR_SCORE


def _score(region: Region) -> float:
    clearness = 1 - math.exp(-region.strength / SCORE_DISTANCE)
    largeness = 1 - math.exp(-region.long_side / SCORE_LENGTH)
    return round(clearness * largeness, 3)


def _clear_mask(difference: SheetDifference) -> Mask:
    edge = max(EDGE_DISTANCE, EDGE_SPREADS * difference.spread)
    core = max(CORE_DISTANCE, CORE_TO_EDGE * edge)
    clear = _hysteresis(difference.fine, core, np.maximum(edge, EDGE_SHARE * _local_peak(difference.fine)))
    return _filled(cv2.morphologyEx(clear, cv2.MORPH_CLOSE, _disc(JOIN_REACH)))


def _local_peak(plane: Plane) -> Plane:
    height, width = plane.shape
    halved = cv2.resize(plane, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    return cv2.resize(cv2.dilate(halved, _disc(SHADOW_REACH)), (width, height), interpolation=cv2.INTER_LINEAR)


def _pale_mask(difference: SheetDifference, dark: list[Part]) -> Mask:
    """Give the mask of pale wings at half the working scale, without what is only the blur of dark insects."""
    edge = max(PALE_EDGE_DISTANCE, PALE_EDGE_SPREADS * difference.spread)
    pale = _filled(_hysteresis(difference.broad, max(PALE_CORE_DISTANCE, PALE_CORE_TO_EDGE * edge), edge))
    height, width = pale.shape
    painted = cv2.resize(_painted(dark, difference.fine.shape), (width, height), interpolation=cv2.INTER_AREA)
    pale[cv2.dilate(painted, _disc(BLUR_REACH)) > 0] = 0
    return cv2.morphologyEx(pale, cv2.MORPH_OPEN, _disc(PALE_NARROWEST))


def _painted(parts: list[Part], shape: tuple[int, ...]) -> Mask:
    painted = np.zeros(shape, dtype=np.uint8)
    for part in parts:
        painted[part.window] = np.maximum(painted[part.window], part.mask)
    return painted


def _hysteresis(plane: Plane, core: float, edge: float | Plane) -> Mask:
    """Give the mask of the patches above ``edge`` that somewhere rise above ``core``."""
    count, labels = cv2.connectedComponents((plane > edge).astype(np.uint8))
    kept = np.zeros(count, dtype=np.uint8)
    kept[labels[plane > core]] = 1
    kept[0] = 0
    mask: Mask = kept[labels]
    return mask


def _filled(mask: Mask) -> Mask:
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    filled: Mask = cv2.drawContours(np.zeros_like(mask), outlines, -1, 1, cv2.FILLED)
    return filled


def _disc(diameter: int) -> Mask:
    disc: Mask = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (diameter, diameter))
    return disc


def _blob(region: Region, across: float, down: float) -> Blob:
    return Blob(
        x1=region.left * across,
        y1=region.top * down,
        x2=region.right * across,
        y2=region.bottom * down,
        score=_score(region),
    )
