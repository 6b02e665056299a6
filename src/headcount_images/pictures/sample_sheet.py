"""Draws the empty light sheet of a sample night: cloth, light, folds, a seam, a clip and dirt, but no insect."""

from dataclasses import dataclass

import cv2
import numpy as np
from cv2.typing import MatLike

# OpenCV's annotations know one type of array; which one is meant is said by these names: a photo holds uint8, a plane
# float32.
Photo = MatLike
Plane = MatLike

# The colour of the lit cloth (blue, green, red): slightly violet, as under an ultraviolet lamp.
CLOTH_COLOUR = (248.0, 240.0, 244.0)
# The corners get this share of the lamp's light.
CORNER_LIGHT = (0.68, 0.85)
# One side of the sheet lies in the shadow of the stand and loses up to this share.
SIDE_SHADOW = (0.03, 0.1)
FOLDS = (2, 5)
# Light on a soft fold changes by this share, over this many pixels.
FOLD_DEPTH = (-0.025, 0.025)
FOLD_WIDTH = (25.0, 70.0)
# Threads are a few pixels wide and change the light by about this many grey levels.
WEAVE_LEVELS = 2.2
GRAIN_LEVELS = 4.0
# Sensors and JPEG leave grain a little coarser than one pixel.
GRAIN_SIGMA = 0.8
WEAVE_STEP = 3.1
DIRT_SPECKS = (20, 60)
DIRT_RADIUS = (1, 2)
DIRT_COLOUR = (110, 125, 130)
# A seam is a thin line of stitches, each a little darker than the cloth.
SEAM_COLOUR = (178, 172, 176)
STITCH_LENGTH = 14
STITCH_GAP = 6
CLIP_SIZE = (90, 46)
CLIP_COLOUR = (44, 40, 42)
CLIP_SHINE = (120, 116, 116)
CLIP_RIM = 6
# Insects keep this far from the clip.
CLIP_GAP = 12


@dataclass(frozen=True)
class SampleSheet:
    """The empty sheet as a float picture (height, width, 3) in BGR, 0 to 255, and grain to shift over each photo.

    ``occupied`` is 1 where the clip leaves no room for an insect, else 0.
    """

    cloth: Plane
    grain: Plane
    occupied: Photo


def draw_sheet(width: int, height: int, random: np.random.Generator) -> SampleSheet:
    """Draw the empty sheet of one camera; all photos of its night share it."""
    light = _lamp_light(width, height, random) * _folds(width, height, random)
    cloth = light[..., None] * np.array(CLOTH_COLOUR, dtype=np.float32)
    cloth += _weave(width, height, random)[..., None]
    picture = np.clip(cloth, 0, 255).astype(np.uint8)
    _draw_seam(picture, random)
    _draw_dirt(picture, random)
    occupied = np.zeros((height, width), dtype=np.uint8)
    _draw_clip(picture, occupied, random)
    grain = random.standard_normal((height, width), dtype=np.float32) * GRAIN_LEVELS
    return SampleSheet(picture.astype(np.float32), cv2.GaussianBlur(grain, (0, 0), GRAIN_SIGMA), occupied)


def _grid(width: int, height: int) -> tuple[Plane, Plane]:
    columns, rows = np.meshgrid(
        np.linspace(-1, 1, width, dtype=np.float32), np.linspace(-1, 1, height, dtype=np.float32)
    )
    return columns, rows


def _lamp_light(width: int, height: int, random: np.random.Generator) -> Plane:
    columns, rows = _grid(width, height)
    centre_x, centre_y = random.uniform(-0.25, 0.25, 2)
    distance = (columns - centre_x) ** 2 + (rows - centre_y) ** 2
    falloff = (1 - random.uniform(*CORNER_LIGHT)) / distance.max()
    shadow = random.uniform(*SIDE_SHADOW) * (columns * random.choice([-1.0, 1.0]) + 1) / 2
    light: Plane = (1 - falloff * distance - shadow).astype(np.float32)
    return light


def _folds(width: int, height: int, random: np.random.Generator) -> Plane:
    columns, rows = _grid(width, height)
    light = np.ones((height, width), dtype=np.float32)
    for _ in range(random.integers(*FOLDS)):
        angle, place = random.uniform(0, np.pi), random.uniform(-0.8, 0.8)
        across = (columns * np.cos(angle) + rows * np.sin(angle) - place) * width / 2
        light += random.uniform(*FOLD_DEPTH) * np.exp(-((across / random.uniform(*FOLD_WIDTH)) ** 2))
    return light


def _weave(width: int, height: int, random: np.random.Generator) -> Plane:
    threads = np.sin(np.arange(height) * 2 * np.pi / WEAVE_STEP)[:, None] + random.standard_normal((height, 1))
    crossing = np.sin(np.arange(width) * 2 * np.pi / WEAVE_STEP)[None, :] + random.standard_normal((1, width))
    weave: Plane = (WEAVE_LEVELS / 2 * (threads + crossing)).astype(np.float32)
    return weave


def _draw_seam(picture: Photo, random: np.random.Generator) -> None:
    height, width = picture.shape[:2]
    start, end = (int(value) for value in random.integers(height // 5, height * 4 // 5, 2))
    step = STITCH_LENGTH + STITCH_GAP
    for left in range(0, width, step):
        right = min(width, left + STITCH_LENGTH)
        ends = [(x, round(start + (end - start) * x / width)) for x in (left, right)]
        cv2.line(picture, ends[0], ends[1], SEAM_COLOUR, 2, cv2.LINE_AA)


def _draw_dirt(picture: Photo, random: np.random.Generator) -> None:
    height, width = picture.shape[:2]
    for _ in range(random.integers(*DIRT_SPECKS)):
        centre = (int(random.integers(width)), int(random.integers(height)))
        cv2.circle(picture, centre, int(random.integers(*DIRT_RADIUS, endpoint=True)), DIRT_COLOUR, -1, cv2.LINE_AA)


def _draw_clip(picture: Photo, occupied: Photo, random: np.random.Generator) -> None:
    """Draw a bulldog clip that holds the sheet at its upper edge: a dark rectangle with a line of shine."""
    width, height = CLIP_SIZE
    left = int(random.integers(width, picture.shape[1] - 2 * width))
    cv2.rectangle(picture, (left, 0), (left + width, height), CLIP_COLOUR, -1)
    shine = height // 3
    cv2.line(picture, (left + CLIP_RIM, shine), (left + width - CLIP_RIM, shine), CLIP_SHINE, 3, cv2.LINE_AA)
    occupied[: height + CLIP_GAP, left - CLIP_GAP : left + width + CLIP_GAP] = 1
