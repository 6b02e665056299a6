"""Puts many photos with their boxes on one sheet, to judge a night at a glance."""

import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageDraw

from headcount_images.pictures.boxes import LabelledBox
from headcount_images.pictures.overlay import HEADER_COLOUR, TEXT_COLOUR, draw_boxes, header, shrunk, text_font

# More thumbnails than this tell a person nothing more; the title says how many were left out.
MOST_THUMBNAILS = 200
# The largest file that mail and chat programs still show without a download.
MOST_BYTES = 8_000_000
# How wide the thumbnails are, for up to so many photos: a few are to be judged by eye, many to be looked over.
THUMBNAIL_WIDTHS = ((4, 960), (12, 800), (40, 480), (MOST_THUMBNAILS, 320))
# When the file is still too large, the thumbnails become smaller by this factor, until it is not.
SHRINKING = 0.8
JPEG_QUALITY = 85
# Higher levels take several times as long and save little, since photos have grain.
PNG_COMPRESSION = 2
GAP = 8
CAPTION_HEIGHT = 22
CAPTION_TEXT_SIZE = 13
TITLE_HEIGHT = 48
TITLE_TEXT_SIZE = 24
BACKGROUND = (52, 52, 52)
# A screen is wider than it is high, and so is the sheet.
SHEET_ASPECT = 1.5


@dataclass(frozen=True)
class FoundInPhoto:
    """One photo and the boxes found in it, in pixels of the photo as shown."""

    photo: Path
    found: Sequence[LabelledBox]


def draw_contact_sheet(photos: Sequence[FoundInPhoto], destination: Path, title: str) -> None:
    """Write one picture of all photos with their boxes, a caption under each and the title above.

    The destination's suffix chooses PNG or JPEG (``.png``, ``.jpg``, ``.jpeg``). At most 200 photos, spread evenly
    over all, are shown, and the title says so; the file stays below 8 MB. Raises ValueError for no photos or another
    suffix, OSError when a photo cannot be read or the file not written.
    """
    if not photos:
        raise ValueError("a contact sheet needs at least one photo")
    kind = _kind_of(destination)
    shown = _spread(photos)
    width = next(width for most, width in THUMBNAIL_WIDTHS if len(shown) <= most)
    full_title = _title(title, len(shown), len(photos))
    content = _encoded(_sheet(shown, full_title, width), kind)
    while len(content) > MOST_BYTES:
        width = int(width * SHRINKING)
        content = _encoded(_sheet(shown, full_title, width), kind)
    destination.parent.mkdir(parents=True, exist_ok=True)
    destination.write_bytes(content)


def _kind_of(destination: Path) -> str:
    kinds = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}
    kind = kinds.get(destination.suffix.lower())
    if kind is None:
        raise ValueError(f"a contact sheet is a .png or .jpg file, not {destination.name}")
    return kind


def _spread(photos: Sequence[FoundInPhoto]) -> Sequence[FoundInPhoto]:
    if len(photos) <= MOST_THUMBNAILS:
        return photos
    return [photos[number * len(photos) // MOST_THUMBNAILS] for number in range(MOST_THUMBNAILS)]


def _title(title: str, shown: int, photos: int) -> str:
    return title if shown == photos else f"{title} ({shown} of {photos} photos shown)"


def _sheet(photos: Sequence[FoundInPhoto], title: str, width: int) -> Image.Image:
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        thumbnails = list(pool.map(partial(_thumbnail, width=width), photos))
    height = max(thumbnail.height for thumbnail in thumbnails)
    columns = _columns(len(thumbnails), width, height)
    rows = math.ceil(len(thumbnails) / columns)
    size = (columns * (width + GAP) + GAP, TITLE_HEIGHT + rows * (height + GAP))
    sheet = Image.new("RGB", size, BACKGROUND)
    for number, thumbnail in enumerate(thumbnails):
        row, column = divmod(number, columns)
        sheet.paste(thumbnail, (GAP + column * (width + GAP), TITLE_HEIGHT + row * (height + GAP)))
    title_font = text_font(TITLE_TEXT_SIZE)
    ImageDraw.Draw(sheet).text((GAP, TITLE_HEIGHT // 2), title, TEXT_COLOUR, title_font, anchor="lm")
    return sheet


def _columns(count: int, width: int, height: int) -> int:
    return min(count, max(1, round(math.sqrt(count * SHEET_ASPECT * height / width))))


def _thumbnail(photo: FoundInPhoto, width: int) -> Image.Image:
    picture, scale = shrunk(photo.photo, width)
    thumbnail = Image.new("RGB", (width, picture.height + CAPTION_HEIGHT), HEADER_COLOUR)
    thumbnail.paste(picture, (0, 0))
    draw = ImageDraw.Draw(thumbnail)
    draw_boxes(draw, photo.found, scale, (0, 0))
    # A box at the photo's lower edge reaches into the caption by the width of its line.
    draw.rectangle((0, picture.height, width, picture.height + CAPTION_HEIGHT), fill=HEADER_COLOUR)
    middle = picture.height + CAPTION_HEIGHT // 2
    caption = header(photo.photo, photo.found)
    draw.text((GAP, middle), caption, TEXT_COLOUR, text_font(CAPTION_TEXT_SIZE), anchor="lm")
    return thumbnail


def _encoded(sheet: Image.Image, kind: str) -> bytes:
    content = BytesIO()
    if kind == "PNG":
        sheet.save(content, "PNG", compress_level=PNG_COMPRESSION)
    else:
        sheet.save(content, "JPEG", quality=JPEG_QUALITY)
    return content.getvalue()
