"""Takes a mask apart into insects: its connected patches, and those that touch, at their waists."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from headcount_worker.examples.sheet import Mask

# The half widths at which a waist is looked for, in working pixels: from a bridge of two legs to two large moths.
WAIST_DEPTHS = (1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 12.0, 15.0)
# Both parts must be this many times as deep as the waist. A moth's wings join its body more broadly than that.
PART_TO_WAIST = 2.2
# What is shallower is a leg or an antenna, not an insect.
SHALLOWEST_PART = 3.5
# Legs and antennae are this much thinner than the body they belong to; wings and heads are not.
LIMB_TO_BODY = 0.12
# Antennae of the smallest insects and creases of the cloth are up to twice as wide as this, and one pixel.
THINNEST = 1
# A small insect on a large one is deeper than this share of it; bits of legs and antennae are not.
BODY_TO_BODY = 0.15


@dataclass(frozen=True, slots=True)
class Part:
    """A small mask and the pixel of the large mask at which its top left corner lies."""

    mask: Mask
    left: int
    top: int

    @property
    def window(self) -> tuple[slice, slice]:
        """The rows and columns of the large mask that this one covers."""
        height, width = self.mask.shape
        return slice(self.top, self.top + height), slice(self.left, self.left + width)


def connected_patches(mask: Mask) -> Iterator[Part]:
    """Give each connected patch of a mask (height, width; 0 or 1)."""
    count, labels, measures, _ = cv2.connectedComponentsWithStats(mask)
    for label in range(1, count):
        left, top, width, height = (int(value) for value in measures[label][:4])
        patch = (labels[top : top + height, left : left + width] == label).astype(np.uint8)
        yield Part(patch, left, top)


def separate_parts(patches: Iterable[Part]) -> Iterator[Part]:
    """Give the patches without legs and antennae, and those that have a narrow waist in their parts."""
    for patch in patches:
        for part in _split_at_waists(patch.mask):
            yield Part(part, patch.left, patch.top)


def _split_at_waists(patch: Mask) -> Iterator[Mask]:
    # The margin is where the depth is zero; without it the patch would be deep at the sides of its own box.
    framed = cv2.copyMakeBorder(patch, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    for body in _without_limbs(framed):
        for part in _parts_from(body, WAIST_DEPTHS):
            yield np.ascontiguousarray(part[1:-1, 1:-1])


def _without_limbs(patch: Mask) -> Iterator[Mask]:
    """Give what is left of a patch without its legs and antennae, and without the bits of them that come apart."""
    deepest = float(cv2.distanceTransform(patch, cv2.DIST_L2, 3).max())
    thin = max(THINNEST, math.floor(LIMB_TO_BODY * deepest))
    opened = cv2.morphologyEx(patch, cv2.MORPH_OPEN, _disc(thin))
    depth = cv2.distanceTransform(opened, cv2.DIST_L2, 3)
    _, labels = cv2.connectedComponents(opened)
    for label in np.unique(labels[depth > BODY_TO_BODY * deepest]):
        if label:
            yield (labels == label).astype(np.uint8)


def _parts_from(patch: Mask, waists: tuple[float, ...]) -> Iterator[Mask]:
    depth = cv2.distanceTransform(patch, cv2.DIST_L2, 3)
    deepest = float(depth.max())
    for position, waist in enumerate(waists):
        needed = max(PART_TO_WAIST * waist, SHALLOWEST_PART)
        if deepest < needed:
            break
        _, labels = cv2.connectedComponents((depth > waist).astype(np.uint8))
        deep = np.unique(labels[depth > needed])
        if len(deep) > 1:
            for label in deep:
                core = (labels == label).astype(np.uint8)
                yield from _parts_from(_grown_back(core, patch, waist), waists[position + 1 :])
            return
    yield patch


def _grown_back(core: Mask, patch: Mask, waist: float) -> Mask:
    return cv2.bitwise_and(cv2.dilate(core, _disc(math.ceil(waist))), patch)


def _disc(radius: int) -> Mask:
    side = 2 * radius + 1
    disc: Mask = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    return disc
