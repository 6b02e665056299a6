"""Draws single insects for a sample night: moths with spread or folded wings, and beetles."""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from cv2.typing import MatLike

from headcount_images.pictures.boxes import Box

Points = npt.NDArray[np.float64]
Patch = MatLike

# Shapes are drawn this many times too large and then reduced, which gives them smooth edges.
OVERSAMPLING = 3
COVERED = 255
# A line of several points is not closed to a ring.
OPEN_LINE = False
# Most insects are small; the logarithm of their length in pixels is spread evenly between these limits.
LENGTHS = (25.0, 160.0)
# Below this length a pale moth would be lost in the grain for a person, too.
SMALLEST_PALE = 70.0
PALE_SHARE = 0.15
# How much darker than the sheet a pale wing is.
PALE_LIGHT = (0.82, 0.92)
BEETLE_SHARE = 0.25
FOLDED_SHARE = 0.5
# Blue, green, red: browns, greys, a yellow and a green that moths have, and the dark browns of beetles.
MOTH_COLOURS = (
    (52, 78, 112),
    (88, 108, 132),
    (96, 98, 104),
    (58, 62, 76),
    (60, 140, 190),
    (104, 140, 128),
    (70, 90, 150),
)
BEETLE_COLOURS = ((28, 28, 32), (24, 40, 62), (40, 50, 40), (30, 36, 90))
# No two insects of one colour are equally dark.
BRIGHTNESS = (0.8, 1.3)
# Outlines in units of half the insect's length; x to its right, y towards its tail.
FOREWING = ((0.06, -0.3), (0.95, -0.42), (1.0, -0.3), (0.72, 0.08), (0.1, 0.1))
HINDWING = ((0.06, 0.0), (0.7, 0.08), (0.68, 0.34), (0.4, 0.5), (0.08, 0.3))
FOLDED_WING = ((0.0, -0.62), (0.26, -0.42), (0.6, 0.72), (0.42, 0.86), (0.0, 0.66))
BANDS = (0.25, 0.5, 0.75)


@dataclass(frozen=True)
class Insect:
    """One drawn insect: its colours (side, side, 3) in BGR, how much they cover (side, side) from 0 to 1, its box.

    The box surrounds wings and body, not legs and antennae, in pixels of this patch.
    """

    colours: Patch
    cover: Patch
    box: Box
    pale: bool

    @property
    def side(self) -> int:
        """The length of the patch's sides in pixels."""
        return len(self.cover)


def draw_insect(random: np.random.Generator, cloth: tuple[float, float, float]) -> Insect:
    """Draw one insect; ``cloth`` is the colour (BGR) of the sheet where it will sit, which pale moths nearly have."""
    length = float(np.exp(random.uniform(*np.log(LENGTHS))))
    kind = random.random()
    pale = kind > 1 - PALE_SHARE and length >= SMALLEST_PALE
    beetle = kind < BEETLE_SHARE
    colour = _colour(random, cloth, pale=pale, beetle=beetle)
    canvas = _Canvas(length, float(random.uniform(0, 2 * np.pi)), colour)
    if beetle:
        _draw_beetle(canvas, random)
    elif random.random() < FOLDED_SHARE:
        _draw_folded_moth(canvas, random)
    else:
        _draw_spread_moth(canvas, random)
    return canvas.finished(pale=pale)


def _colour(
    random: np.random.Generator, cloth: tuple[float, float, float], *, pale: bool, beetle: bool
) -> npt.NDArray[np.float64]:
    if pale:
        return np.array(cloth) * random.uniform(*PALE_LIGHT)
    choices = BEETLE_COLOURS if beetle else MOTH_COLOURS
    chosen = np.array(choices[random.integers(len(choices))])
    return np.clip(chosen * random.uniform(*BRIGHTNESS), 0, 200)


class _Canvas:
    """A square patch on which an insect is drawn in its own units, turned by its angle."""

    def __init__(self, length: float, angle: float, colour: npt.NDArray[np.float64]) -> None:
        # The longest diagonal of an insect with its antennae is a fifth longer than the insect.
        self.side = int(np.ceil(length * 1.5)) + 4
        self.half = length / 2 * OVERSAMPLING
        self.colour = colour
        self._turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        large = self.side * OVERSAMPLING
        self._colours = np.full((large, large, 3), colour, dtype=np.uint8)
        self._body = np.zeros((large, large), dtype=np.uint8)
        self._limbs = np.zeros((large, large), dtype=np.uint8)

    def fill(self, outline: Points, brightness: float) -> None:
        """Fill an outline that counts for the insect's box."""
        pixels = self._pixels(outline)
        cv2.fillPoly(self._body, [pixels], COVERED)
        cv2.fillPoly(self._colours, [pixels], self._shade(brightness))

    def mark(self, line: Points, width: float, brightness: float) -> None:
        """Draw a line of the wing's pattern."""
        cv2.polylines(self._colours, [self._pixels(line)], OPEN_LINE, self._shade(brightness), self._width(width))

    def limb(self, line: Points, width: float) -> None:
        """Draw a leg or an antenna, which the insect's box leaves out."""
        cv2.polylines(self._limbs, [self._pixels(line)], OPEN_LINE, COVERED, self._width(width))

    def finished(self, *, pale: bool) -> Insect:
        """Give the insect in the size it is to have."""
        size = (self.side, self.side)
        body = cv2.resize(self._body, size, interpolation=cv2.INTER_AREA)
        limbs = cv2.resize(self._limbs, size, interpolation=cv2.INTER_AREA)
        colours = cv2.resize(self._colours, size, interpolation=cv2.INTER_AREA)
        left, top, width, height = cv2.boundingRect((body > COVERED // 2).astype(np.uint8))
        cover = np.maximum(body, limbs).astype(np.float32) / COVERED
        return Insect(colours.astype(np.float32), cover, (left, top, left + width, top + height), pale)

    def _pixels(self, outline: Points) -> npt.NDArray[np.int32]:
        centre = self.side * OVERSAMPLING / 2
        pixels: npt.NDArray[np.int32] = np.round(outline @ self._turn.T * self.half + centre).astype(np.int32)
        return pixels

    def _shade(self, brightness: float) -> tuple[float, float, float]:
        blue, green, red = np.clip(self.colour * brightness, 0, 255)
        return float(blue), float(green), float(red)

    def _width(self, width: float) -> int:
        return max(OVERSAMPLING, round(width * self.half))


def _mirrored(outline: Points) -> Points:
    mirrored: Points = outline * np.array([-1, 1])
    return mirrored


def _ellipse(x: float, y: float, across: float, along: float) -> Points:
    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    return np.stack([x + across * np.cos(angles), y + along * np.sin(angles)], axis=1)


def _draw_spread_moth(canvas: _Canvas, random: np.random.Generator) -> None:
    proportions = np.array([1.0, random.uniform(0.8, 1.25)])
    contrast = random.uniform(0.65, 1.35)
    for side in (lambda outline: outline, _mirrored):
        canvas.fill(side(np.array(HINDWING) * proportions), 1.1)
        canvas.fill(side(np.array(FOREWING) * proportions), 1.0)
        for band in BANDS:
            canvas.mark(side(np.array([(band, -0.36), (band * 0.85, 0.2)]) * proportions), 0.05, contrast)
        canvas.limb(side(np.array([(0.03, -0.4), (0.3, -0.68)])), 0.01)
    canvas.fill(_ellipse(0, 0.05, 0.1, 0.42), 0.85)


def _draw_folded_moth(canvas: _Canvas, random: np.random.Generator) -> None:
    proportions = np.array([random.uniform(0.7, 1.3), 1.0])
    contrast = random.uniform(0.65, 1.35)
    for side in (lambda outline: outline, _mirrored):
        canvas.fill(side(np.array(FOLDED_WING) * proportions), 1.0)
        for band in BANDS:
            canvas.mark(side(np.array([(0.02, band), (0.5 * band, band - 0.1)]) * proportions), 0.05, contrast)
        canvas.limb(side(np.array([(0.04, -0.7), (0.25, -0.98)])), 0.01)
    canvas.fill(_ellipse(0, -0.6, 0.15, 0.18), 0.85)


def _draw_beetle(canvas: _Canvas, random: np.random.Generator) -> None:
    broadness = random.uniform(0.42, 0.62)
    for side in (lambda outline: outline, _mirrored):
        for start, end in ((-0.3, -0.5), (0.1, 0.12), (0.4, 0.7)):
            canvas.limb(side(np.array([(broadness * 0.8, start), (broadness + 0.25, end)])), 0.025)
    canvas.fill(_ellipse(0, -0.72, broadness * 0.45, 0.2), 0.8)
    canvas.fill(_ellipse(0, 0.1, broadness, 0.8), 1.0)
    canvas.mark(np.array([(0.0, -0.6), (0.0, 0.85)]), 0.02, 0.5)
    canvas.mark(np.array([(broadness * 0.4, -0.3), (broadness * 0.45, 0.3)]), 0.05, 2.0)
