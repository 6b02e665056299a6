"""Decodes a photo, or says in plain words why it cannot be looked at."""

import warnings
from io import BytesIO

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from headcount_worker.errors import UnusableImageError
from headcount_worker.examples.sheet import Photo

# What cameras write; other modes (16 bit, floating point) would lose their meaning in 8 bits.
USUAL_MODES = frozenset({"1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr"})
# Camera traps take up to about 50 million pixels; twice that still fits a small worker's memory.
MOST_PIXELS = 100_000_000
# Below this there is no sheet to see.
SHORTEST_SIDE = 64
JPEG_START, JPEG_END = b"\xff\xd8", b"\xff\xd9"
# Some cameras write zeros after the end of the picture, up to a full block of their card.
LONGEST_PADDING = 64 * 1024


class UnreadablePhotoError(UnusableImageError, ValueError):
    """A photo that no worker can look at; the text says why, for the person who submitted it."""


class EmptyFileError(UnreadablePhotoError):
    """The file has no bytes at all."""


class NotAnImageError(UnreadablePhotoError):
    """The bytes are no image, whatever the file's name says."""


class DamagedImageError(UnreadablePhotoError):
    """The image starts well and is cut off or broken further on."""


class UnsupportedImageError(UnreadablePhotoError):
    """The image is whole, but of a size or kind that is not looked at."""


def decode_photo(content: bytes) -> Photo:
    """Decode an image file's bytes to BGR (height, width, 3), turned upright as its EXIF orientation says.

    Raises EmptyFileError, NotAnImageError, DamagedImageError or UnsupportedImageError, all of them
    UnreadablePhotoError. A JPEG that is cut off is refused, where OpenCV would fill the missing part with grey.
    """
    if not content:
        raise EmptyFileError("the file is empty (0 bytes)")
    image = _opened(content)
    _check_kind(image)
    if image.format == "JPEG" and not _has_jpeg_end(content):
        raise DamagedImageError(
            f"the JPEG is cut off: it has no end after {len(content):,} bytes; was it copied completely?"
        )
    pixels = np.asarray(_loaded(image))
    upright: Photo = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
    return upright


def _opened(content: bytes) -> Image.Image:
    try:
        with warnings.catch_warnings():
            # Pillow only warns of pictures that MOST_PIXELS refuses a moment later.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            return Image.open(BytesIO(content))
    except UnidentifiedImageError as error:
        if content.startswith(JPEG_START):
            raise _broken_header(content, error) from error
        raise NotAnImageError(f"the file is not an image: it starts with {_first_bytes(content)}") from error
    except Image.DecompressionBombError as error:
        raise UnsupportedImageError(f"the image is far too large: {error}") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise _broken_header(content, error) from error


def _broken_header(content: bytes, error: Exception) -> DamagedImageError:
    if content.startswith(JPEG_START) and not _has_jpeg_end(content):
        return DamagedImageError(f"the JPEG is cut off within its header, after {len(content):,} bytes")
    return DamagedImageError(f"the image's header is broken: {error}")


def _has_jpeg_end(content: bytes) -> bool:
    return JPEG_END in content[-LONGEST_PADDING:]


def _check_kind(image: Image.Image) -> None:
    width, height = image.size
    if width * height > MOST_PIXELS:
        most = MOST_PIXELS // 1_000_000
        raise UnsupportedImageError(f"the image is too large: {width} x {height} pixels, more than {most} million")
    if min(width, height) < SHORTEST_SIDE:
        raise UnsupportedImageError(
            f"the image is too small: {width} x {height} pixels; {SHORTEST_SIDE} a side is the least"
        )
    if image.mode not in USUAL_MODES:
        raise UnsupportedImageError(
            f"the image's pixels are of an unsupported kind ({image.format}, mode {image.mode})"
        )


def _loaded(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image).convert("RGB")
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise DamagedImageError(f"the {image.format} image is cut off or damaged: {error}") from error


def _first_bytes(content: bytes) -> str:
    start = content[:24]
    return (
        f"the text {start.decode()!r}"
        if start.isascii() and start.decode().isprintable()
        else f"bytes {start[:8].hex(' ')}"
    )
