"""Draws what was found into a photo, so that a person can judge it by eye."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps

from headcount_images.pictures.boxes import LabelledBox

# Wide enough to judge a box, small enough for a hundred of them to be written in seconds.
WIDEST = 1024
# PNG's higher levels take several times as long and save a tenth, since photos have grain.
PNG_COMPRESSION = 1
HEADER_HEIGHT = 30
HEADER_COLOUR = (24, 24, 24)
TEXT_COLOUR = (245, 245, 245)
HEADER_TEXT_SIZE = 17
LABEL_TEXT_SIZE = 13
# A bright line within a dark one is seen on a white sheet and on a black moth.
BOX_COLOUR = (255, 80, 0)
BOX_EDGE_COLOUR = (0, 0, 0)
BOX_WIDTH = 2
LABEL_PADDING = 2
EXIF_ORIENTATION = 0x0112
# The orientations that exchange width and height.
SIDEWAYS = frozenset({5, 6, 7, 8})


def draw_overlay(photo: Path, found: Sequence[LabelledBox], destination: Path) -> None:
    """Write a PNG of the photo with the boxes, their labels and scores, under a line with file name and count.

    The corners of the boxes are pixels of the photo as shown, upright; the PNG is at most 1024 pixels wide. The
    destination's directory is made if missing. Raises OSError when the photo cannot be read or the PNG not written.
    """
    picture, scale = shrunk(photo, WIDEST)
    sheet = Image.new("RGB", (picture.width, picture.height + HEADER_HEIGHT), HEADER_COLOUR)
    sheet.paste(picture, (0, HEADER_HEIGHT))
    draw = ImageDraw.Draw(sheet)
    draw_boxes(draw, found, scale, (0, HEADER_HEIGHT))
    for box in found:
        _draw_label(draw, box, scale)
    draw.text((8, HEADER_HEIGHT // 2), header(photo, found), TEXT_COLOUR, text_font(HEADER_TEXT_SIZE), anchor="lm")
    destination.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(destination, "PNG", compress_level=PNG_COMPRESSION)


def shrunk(photo: Path, widest: int) -> tuple[Image.Image, float]:
    """Read a photo upright and at most ``widest`` pixels wide; give it with the scale that was applied."""
    with Image.open(photo) as opened:
        full_width, full_height = opened.size
        if opened.getexif().get(EXIF_ORIENTATION, 1) in SIDEWAYS:
            full_width, full_height = full_height, full_width
        # A JPEG can be read at a half or a quarter of its size, which takes a fraction of the time.
        opened.draft("RGB", (widest, widest))
        upright = ImageOps.exif_transpose(opened).convert("RGB")
    scale = min(1.0, widest / full_width)
    size = (max(1, round(full_width * scale)), max(1, round(full_height * scale)))
    return upright.resize(size, Image.Resampling.BILINEAR), scale


def draw_boxes(
    draw: ImageDraw.ImageDraw,
    found: Sequence[LabelledBox],
    scale: float,
    corner: tuple[int, int],
) -> None:
    """Draw the boxes of a photo whose top left corner lies at ``corner``, reduced by ``scale``."""
    for box in found:
        left, top = corner[0] + box.x1 * scale, corner[1] + box.y1 * scale
        right, bottom = corner[0] + box.x2 * scale, corner[1] + box.y2 * scale
        right, bottom = max(left, right), max(top, bottom)
        draw.rectangle((left - 2, top - 2, right + 2, bottom + 2), outline=BOX_EDGE_COLOUR, width=1)
        draw.rectangle((left - 1, top - 1, right + 1, bottom + 1), outline=BOX_COLOUR, width=BOX_WIDTH)


def header(photo: Path, found: Sequence[LabelledBox]) -> str:
    """Give the line above a photo: its file name and how much was found in it."""
    return f"{photo.name}: {len(found)} found"


@cache
def text_font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    """Give the font that all drawings use, in pixels."""
    return ImageFont.load_default(size)


def _draw_label(draw: ImageDraw.ImageDraw, box: LabelledBox, scale: float) -> None:
    text = box.label if box.score is None else f"{box.label} {box.score:.2f}".strip()
    if not text:
        return
    font = text_font(LABEL_TEXT_SIZE)
    height = LABEL_TEXT_SIZE + 2 * LABEL_PADDING
    left = box.x1 * scale
    above = HEADER_HEIGHT + box.y1 * scale - height
    # At the photo's upper edge the label goes below the box, where it does not cover the header.
    top = above if above >= HEADER_HEIGHT else HEADER_HEIGHT + box.y2 * scale + 1
    length = draw.textlength(text, font)
    draw.rectangle((left, top, left + length + 2 * LABEL_PADDING, top + height), fill=HEADER_COLOUR)
    draw.text((left + LABEL_PADDING, top + height / 2), text, TEXT_COLOUR, font, anchor="lm")
