"""Draws a sample night: synthetic photos of a light sheet with insects whose places are known.

The pictures let a first job run, and let a pipeline be measured, where no camera trap is at hand. Every photo says
SYNTHETIC in its information bar and in its EXIF description, and so does ``truth.json`` beside them.
"""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from headcount_images.pictures.boxes import Box
from headcount_images.pictures.sample_insects import Insect, draw_insect
from headcount_images.pictures.sample_sheet import Photo, Plane, SampleSheet, draw_sheet

TRUTH_FILE = "truth.json"
# Raised whenever the drawing changes, so that a set drawn by an older version is drawn again.
DRAWING_VERSION = 1
WIDTH, HEIGHT = 1600, 1200
MOST_INSECTS = 12
FIRST_PHOTO_AT = datetime(2024, 7, 1, 22, 0, 0, tzinfo=UTC)
TIME_BETWEEN_PHOTOS = timedelta(minutes=3)
JPEG_QUALITY = 88
BAR_HEIGHT = 44
BAR_COLOUR = (18, 18, 18)
BAR_TEXT_COLOUR = (235, 235, 235)
# The flash is not equally strong each time.
EXPOSURE = (0.94, 1.03)
# A soft shadow falls beside each insect.
SHADOW_STRENGTH = 0.12
SHADOW_OFFSET = 3
SHADOW_SIGMA = 4.0
# Between the outlines of two insects there are at least this many pixels; boxes may overlap.
SMALLEST_GAP = 8
# A place that is taken is tried elsewhere this often before the photo is left with one insect less.
PLACING_ATTEMPTS = 30
# An insect at the side of the photo may be cut off by at most this share of its length.
CUT_OFF_SHARE = 0.1
EXIF_DATE, EXIF_DESCRIPTION, EXIF_IFD, EXIF_DATE_ORIGINAL = 0x0132, 0x010E, 0x8769, 0x9003


@dataclass(frozen=True)
class SampleNight:
    """A drawn night: where its photos are, and the true boxes of each by file name, in pixels."""

    directory: Path
    seed: int
    truth: Mapping[str, Sequence[Box]]

    @property
    def photos(self) -> tuple[Path, ...]:
        """The photos' paths, in the order they were taken."""
        return tuple(self.directory / name for name in sorted(self.truth))


def draw_sample_night(
    directory: Path, *, images: int = 120, seed: int = 2024, workers: int | None = None
) -> SampleNight:
    """Draw a night of ``images`` photos (1600x1200 JPEG) into ``directory``, made if missing, and write its truth.

    The same arguments give the same bytes, whatever the number of ``workers`` (threads; one per core by default). A
    complete night of the same arguments is left as it is; a night of others, or an incomplete one, is replaced. Other
    files are not touched. Boxes surround wings and body, not legs and antennae. Raises ValueError for less than one
    image, OSError when the directory cannot be written.
    """
    if images < 1:
        raise ValueError(f"a sample night has at least one image, not {images}")
    drawn = _read_truth(directory)
    if drawn and drawn.seed == seed and len(drawn.truth) == images and all(map(Path.is_file, drawn.photos)):
        return drawn
    directory.mkdir(parents=True, exist_ok=True)
    if drawn:
        _remove(drawn)
    night = SampleNight(directory, seed, _draw_photos(directory, seed, images, workers))
    _write_truth(night)
    return night


def read_sample_night(directory: Path) -> SampleNight:
    """Read a night that was drawn before; raises FileNotFoundError when the directory holds none."""
    drawn = _read_truth(directory)
    if drawn is None:
        raise FileNotFoundError(f"there is no sample night in {directory}")
    return drawn


def _draw_photos(directory: Path, seed: int, images: int, workers: int | None) -> dict[str, list[Box]]:
    sheet = draw_sheet(WIDTH, HEIGHT - BAR_HEIGHT, np.random.default_rng(seed))
    draw = partial(_draw_photo, directory, sheet, seed)
    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:
        boxes = pool.map(draw, range(images))
        return {_file_name(number): found for number, found in enumerate(boxes)}


def _draw_photo(directory: Path, sheet: SampleSheet, seed: int, number: int) -> list[Box]:
    # Each photo has its own source of chance, so that the threads' order changes nothing.
    random = np.random.default_rng((seed, number))
    scene = sheet.cloth * np.float32(random.uniform(*EXPOSURE))
    boxes = _place_insects(scene, sheet.occupied.copy(), random)
    grain = np.roll(sheet.grain, random.integers(sheet.grain.shape), axis=(0, 1))
    sheet_photo = np.clip(scene + grain[..., None], 0, 255).astype(np.uint8)
    photo = cv2.copyMakeBorder(sheet_photo, 0, BAR_HEIGHT, 0, 0, cv2.BORDER_CONSTANT, value=BAR_COLOUR)
    _write_bar(photo, number)
    _save(photo, directory / _file_name(number), number)
    return boxes


def _place_insects(scene: Plane, taken: Photo, random: np.random.Generator) -> list[Box]:
    placed = (_place_insect(scene, taken, random) for _ in range(random.integers(MOST_INSECTS, endpoint=True)))
    return [box for box in placed if box]


def _place_insect(scene: Plane, taken: Photo, random: np.random.Generator) -> Box | None:
    """Draw one insect at a free place of the scene and mark that place as taken; give its box, cut to the photo."""
    height, width = taken.shape
    for _ in range(PLACING_ATTEMPTS):
        x, y = int(random.integers(width)), int(random.integers(height))
        insect = draw_insect(random, _cloth_colour(scene, x, y))
        box = _moved(insect.box, x - insect.side // 2, y - insect.side // 2)
        if _is_inside(box, width, height) and _is_free(taken, insect, x, y):
            _lay_on(scene, taken, insect, x, y)
            return (max(0.0, box[0]), max(0.0, box[1]), min(float(width), box[2]), min(float(height), box[3]))
    return None


def _cloth_colour(scene: Plane, x: int, y: int) -> tuple[float, float, float]:
    blue, green, red = scene[y, x]
    return float(blue), float(green), float(red)


def _moved(box: Box, right: int, down: int) -> Box:
    return (box[0] + right, box[1] + down, box[2] + right, box[3] + down)


def _is_inside(box: Box, width: int, height: int) -> bool:
    allowed = CUT_OFF_SHARE * max(box[2] - box[0], box[3] - box[1])
    return min(box[0], box[1], width - box[2], height - box[3]) >= -allowed


def _is_free(taken: Photo, insect: Insect, x: int, y: int) -> bool:
    place, part = _windows(taken, insect, x, y)
    return not np.any(taken[place][insect.cover[part] > 0])


def _lay_on(scene: Plane, taken: Photo, insect: Insect, x: int, y: int) -> None:
    _darken(scene, insect, x + SHADOW_OFFSET, y + SHADOW_OFFSET)
    place, part = _windows(taken, insect, x, y)
    cover = insect.cover[part][..., None]
    scene[place] = scene[place] * (1 - cover) + insect.colours[part] * cover
    gap = np.ones((2 * SMALLEST_GAP + 1, 2 * SMALLEST_GAP + 1), np.uint8)
    around = cv2.dilate((insect.cover > 0).astype(np.uint8), gap)
    taken[place] = np.maximum(taken[place], around[part])


def _darken(scene: Plane, insect: Insect, x: int, y: int) -> None:
    place, part = _windows(scene, insect, x, y)
    shadow = cv2.GaussianBlur(insect.cover, (0, 0), SHADOW_SIGMA)[part]
    scene[place] = scene[place] * (1 - SHADOW_STRENGTH * shadow[..., None])


def _windows(picture: Photo | Plane, insect: Insect, x: int, y: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Give where an insect centred at (x, y) lies in the picture, and which part of its patch that is."""
    height, width = picture.shape[:2]
    left, top = x - insect.side // 2, y - insect.side // 2
    right, bottom = min(width, left + insect.side), min(height, top + insect.side)
    inner_left, inner_top = max(0, left), max(0, top)
    place = (slice(inner_top, bottom), slice(inner_left, right))
    return place, (slice(inner_top - top, bottom - top), slice(inner_left - left, right - left))


def _write_bar(photo: Photo, number: int) -> None:
    text = f"SYNTHETIC   {_taken_at(number):%Y-%m-%d %H:%M:%S}   SAMPLE CAMERA   {number + 1:04d}"
    baseline = (16, HEIGHT - BAR_HEIGHT // 3)
    cv2.putText(photo, text, baseline, cv2.FONT_HERSHEY_SIMPLEX, 0.8, BAR_TEXT_COLOUR, 2, cv2.LINE_AA)


def _save(photo: Photo, path: Path, number: int) -> None:
    exif = Image.Exif()
    moment = f"{_taken_at(number):%Y:%m:%d %H:%M:%S}"
    exif[EXIF_DATE] = moment
    exif[EXIF_DESCRIPTION] = "SYNTHETIC sample night, drawn by a program"
    exif.get_ifd(EXIF_IFD)[EXIF_DATE_ORIGINAL] = moment
    colours = cv2.cvtColor(photo, cv2.COLOR_BGR2RGB)
    _write_whole(path, lambda part: Image.fromarray(colours).save(part, "JPEG", quality=JPEG_QUALITY, exif=exif))


def _write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file under another name first, so that one that bears its own name is complete."""
    part = path.with_name(path.name + ".part")
    write(part)
    part.replace(path)


def _taken_at(number: int) -> datetime:
    return FIRST_PHOTO_AT + number * TIME_BETWEEN_PHOTOS


def _file_name(number: int) -> str:
    return f"sample_{_taken_at(number):%Y%m%d%H%M%S}-{number + 1:04d}.jpg"


def _write_truth(night: SampleNight) -> None:
    drawn = {"synthetic": True, "seed": night.seed, "version": DRAWING_VERSION, "boxes": night.truth}
    text = json.dumps(drawn, indent=1)
    _write_whole(night.directory / TRUTH_FILE, lambda part: part.write_text(text, encoding="utf-8"))


def _read_truth(directory: Path) -> SampleNight | None:
    """Give the night that a directory says it holds; none when it holds none that this version could have drawn."""
    try:
        drawn = json.loads((directory / TRUTH_FILE).read_text(encoding="utf-8"))
        if drawn["version"] != DRAWING_VERSION or drawn["synthetic"] is not True:
            return None
        truth = {str(name): [_as_box(box) for box in boxes] for name, boxes in drawn["boxes"].items()}
        return SampleNight(directory, int(drawn["seed"]), truth)
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _as_box(corners: Sequence[float]) -> Box:
    left, top, right, bottom = (float(corner) for corner in corners)
    return left, top, right, bottom


def _remove(night: SampleNight) -> None:
    """Remove a night's files, the truth first: a directory without it holds no night."""
    (night.directory / TRUTH_FILE).unlink()
    for photo in night.photos:
        # The names come from a file that anybody may have written.
        if photo.parent == night.directory:
            photo.unlink(missing_ok=True)
