"""Connected patches of a photo at the working scale: measured, put together, and told from what is no insect."""

from dataclasses import dataclass, replace

import cv2

from headcount_worker.examples.sheet import Extent, Plane
from headcount_worker.examples.touching import Part

# All lengths and areas are in working pixels (see ``blobs.WORKING_LENGTH``).
# Specks of dirt are smaller than an insect that a person would box.
SMALLEST_AREA = 26
SMALLEST_LENGTH = 7.0
# Seams and creases are long and thin; the thinnest moth at rest is about six times as long as it is wide.
LONGEST_FOR_ITS_WIDTH = 8.0
# The outlines of colour cards, scales, tape and clips are rectangles; a moth's fills two thirds of one, a beetle's four
# fifths, a caterpillar's a little more than nine tenths.
CARD_FILLING = 0.94
# A rectangle of a few pixels says nothing about the shape.
CARD_SMALLEST_AREA = 150
# The print on a card, or the shine on a clip, lies this close to it as a share of its shorter side.
CARD_MARGIN = 0.5
# An insect that touches a card lies on it by less than this share.
CARD_OVERLAP = 0.6
# A strip this thin along a side of the photo is the edge of a frame, not an insect that is cut off.
FRAME_DEPTH = 8
# Blur and reduction may leave so many pixels between a side of the photo and what it cuts off.
TOUCHING_GAP = 1
# A pale wing that is cut off by a side stands off from the sheet by at least this CIELAB distance.
LEAST_PALE_AT_A_SIDE = 7.0
# What takes up more than this share of a side of the photo is a border, a hand or a plant.
BORDER_SHARE = 0.5
# Tips of legs and antennae that came apart from their insect are shorter than this share of it ...
FRAGMENT_SHARE = 0.2
# ... and at least this share of their box lies in its box.
FRAGMENT_OVERLAP = 0.6
# A piece of a pale moth lies in the moth's box by at least this share.
PALE_OVERLAP = 0.5
# Stains and folds have ragged outlines; wings fill more than this share of their convex hull.
PALE_FILLING = 0.7


@dataclass(frozen=True, slots=True)
class Region:
    """One patch: its upright box, its area, the sides of its tightest rectangle, and how far it stands off."""

    left: int
    top: int
    right: int
    bottom: int
    area: float
    hull_area: float
    long_side: float
    short_side: float
    strength: float
    pale: bool = False


def measure(part: Part, plane: Plane) -> Region:
    """Measure a part of a mask on the plane of distances that the mask was made from; both in the same pixels."""
    across, down, width, height = cv2.boundingRect(part.mask)
    pixels = cv2.findNonZero(part.mask)
    sides = sorted(cv2.minAreaRect(pixels)[1])
    return Region(
        left=part.left + across,
        top=part.top + down,
        right=part.left + across + width,
        bottom=part.top + down + height,
        area=float(cv2.countNonZero(part.mask)),
        hull_area=float(cv2.contourArea(cv2.convexHull(pixels))),
        # Between pixel centres a row of five pixels is four long.
        long_side=sides[1] + 1,
        short_side=sides[0] + 1,
        strength=cv2.mean(plane[part.window], part.mask)[0],
    )


def doubled(region: Region) -> Region:
    """Give a region of the half scale plane in working pixels, marked as pale."""
    return replace(
        region,
        left=2 * region.left,
        top=2 * region.top,
        right=2 * region.right,
        bottom=2 * region.bottom,
        area=4 * region.area,
        hull_area=4 * region.hull_area,
        long_side=2 * region.long_side,
        short_side=2 * region.short_side,
        pale=True,
    )


def join_pale_wings(clear: list[Region], pale: list[Region]) -> list[Region]:
    """Give each pale moth as one region with the clear pieces of it (its body, its veins); the others as they are.

    A pale region in the box of a larger clear one is that insect's shine or shadow and is left out.
    """
    joined = list(clear)
    for moth in pale:
        if any(region.area > moth.area and _overlap(moth, region) > PALE_OVERLAP for region in clear):
            continue
        pieces = [region for region in joined if region.area < moth.area and _overlap(region, moth) > PALE_OVERLAP]
        joined = [region for region in joined if region not in pieces]
        joined.append(_around([moth, *pieces]))
    return joined


def without_fragments(regions: list[Region]) -> list[Region]:
    """Leave out the tips of legs and antennae that lie in the box of a far larger region."""
    return [region for region in regions if not any(_is_fragment(region, other) for other in regions)]


def cards_among(regions: list[Region]) -> list[Region]:
    """Find printed cards, tape and clips; each comes with a margin that takes in the print and the shine around it."""
    return [_grown(region, round(CARD_MARGIN * region.short_side)) for region in regions if _is_card(region)]


def apart_from(cards: list[Region], regions: list[Region]) -> list[Region]:
    """Leave out the regions that lie on one of the cards."""
    return [region for region in regions if not any(_overlap(region, card) > CARD_OVERLAP for card in cards)]


def looks_like_an_insect(region: Region, extent: Extent) -> bool:
    """Tell whether a region's size, shape and place allow it to be an insect on the sheet."""
    if region.area < SMALLEST_AREA or region.long_side < SMALLEST_LENGTH:
        return False
    if region.long_side > LONGEST_FOR_ITS_WIDTH * region.short_side:
        return False
    if region.pale and region.area < PALE_FILLING * region.hull_area:
        return False
    return not _touched_sides(region, extent) or _may_be_cut_off(region, extent)


def _touched_sides(region: Region, extent: Extent) -> int:
    gaps = (
        region.left - extent.left,
        region.top - extent.top,
        extent.right - region.right,
        extent.bottom - region.bottom,
    )
    return sum(gap <= TOUCHING_GAP for gap in gaps)


def _may_be_cut_off(region: Region, extent: Extent) -> bool:
    if region.pale and (region.strength < LEAST_PALE_AT_A_SIDE or _touched_sides(region, extent) > 1):
        return False  # where the light ends, above all in the corners, the sheet itself looks like a pale wing
    width, height = region.right - region.left, region.bottom - region.top
    too_wide = width > BORDER_SHARE * (extent.right - extent.left)
    too_high = height > BORDER_SHARE * (extent.bottom - extent.top)
    return min(width, height) > FRAME_DEPTH and not too_wide and not too_high


def _is_card(region: Region) -> bool:
    # The hull joins pixel centres, which leaves out half a pixel on each side.
    rectangle = (region.long_side - 1) * (region.short_side - 1)
    return region.hull_area > CARD_SMALLEST_AREA and region.hull_area > CARD_FILLING * rectangle


def _grown(region: Region, margin: int) -> Region:
    return replace(
        region,
        left=region.left - margin,
        top=region.top - margin,
        right=region.right + margin,
        bottom=region.bottom + margin,
    )


def _is_fragment(region: Region, other: Region) -> bool:
    return region.long_side < FRAGMENT_SHARE * other.long_side and _overlap(region, other) > FRAGMENT_OVERLAP


def _overlap(region: Region, other: Region) -> float:
    """Give the share of the region's box that lies in the other's box."""
    width = min(region.right, other.right) - max(region.left, other.left)
    height = min(region.bottom, other.bottom) - max(region.top, other.top)
    whole = (region.right - region.left) * (region.bottom - region.top)
    return max(0, width) * max(0, height) / whole


def _around(regions: list[Region]) -> Region:
    return replace(
        regions[0],
        left=min(region.left for region in regions),
        top=min(region.top for region in regions),
        right=max(region.right for region in regions),
        bottom=max(region.bottom for region in regions),
        strength=max(region.strength for region in regions),
    )
