import re
from io import BytesIO

import numpy as np
import pytest
from PIL import Image as PillowImage

from headcount_images.pictures.sample_night import SampleNight
from headcount_worker import Image, run_pipeline
from headcount_worker.examples.decoding import (
    DamagedImageError,
    EmptyFileError,
    NotAnImageError,
    UnreadablePhotoError,
    UnsupportedImageError,
    decode_photo,
)
from headcount_worker.examples.light_sheet_blobs import find_blobs, light_sheet_blobs
from headcount_worker.wire import TaskError, TaskOutput


def encoded(kind: str, size: tuple[int, int] = (300, 200), mode: str = "RGB", **options: object) -> bytes:
    noise = np.random.default_rng(1).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    content = BytesIO()
    PillowImage.fromarray(noise).convert(mode).save(content, kind, **options)
    return content.getvalue()


def test_the_pipeline_gives_one_insect_label_for_each_blob(night: SampleNight) -> None:
    photo = next(photo for photo in night.photos if night.truth[photo.name])
    [outcome] = run_pipeline(light_sheet_blobs, [Image.from_file(photo)])
    assert isinstance(outcome.result, TaskOutput)
    blobs = find_blobs(decode_photo(photo.read_bytes()))
    assert len(blobs) == len(outcome.result.detections) > 0
    for detection, blob in zip(outcome.result.detections, blobs, strict=True):
        assert (detection.bbox.x1, detection.bbox.y2) == (blob.x1, blob.y2)
        assert [(label.classification, label.scores) for label in detection.classifications] == [
            ("insect", [blob.score])
        ]
        assert detection.algorithm.key == "light-sheet-blobs"


def test_a_photo_without_insects_is_a_result_without_detections() -> None:
    content = BytesIO()
    PillowImage.new("RGB", (800, 600), (230, 230, 230)).save(content, "JPEG")
    [outcome] = run_pipeline(light_sheet_blobs, [Image.from_bytes(content.getvalue())])
    assert isinstance(outcome.result, TaskOutput)
    assert outcome.result.detections == []


def test_an_unreadable_photo_fails_with_its_reason_and_nothing_else() -> None:
    [outcome] = run_pipeline(light_sheet_blobs, [Image.from_bytes(b"")])
    assert isinstance(outcome.result, TaskError)
    assert outcome.result.error == "the file is empty (0 bytes)"


JPEG = encoded("JPEG")


@pytest.mark.parametrize(
    ("content", "error", "words"),
    [
        (b"", EmptyFileError, "0 bytes"),
        (b"Dear camera, please", NotAnImageError, "not an image: it starts with the text 'Dear camera, please'"),
        (b"\x00\x01\x02" * 50, NotAnImageError, "bytes 00 01 02"),
        (b"<html>\n<body>", NotAnImageError, "not an image"),
        (JPEG[:3], DamagedImageError, "cut off within its header"),
        (JPEG[:300], DamagedImageError, "cut off"),
        (JPEG[: len(JPEG) // 2], DamagedImageError, "cut off"),
        (JPEG[:-2], DamagedImageError, "cut off"),
        (JPEG[: len(JPEG) // 2] + b"\x00" * 2000, DamagedImageError, "cut off"),
        (encoded("PNG")[:5000], DamagedImageError, "PNG image is cut off or damaged"),
        (encoded("PNG", (30, 20)), UnsupportedImageError, "too small: 30 x 20"),
        (encoded("TIFF", mode="F"), UnsupportedImageError, "unsupported kind"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(content: bytes, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=re.escape(words)) as raised:
        decode_photo(content)
    assert isinstance(raised.value, ValueError)
    assert isinstance(raised.value, UnreadablePhotoError)


@pytest.mark.parametrize("size", [(12_000, 9_000), (30_000, 30_000)])
def test_an_absurdly_large_image_is_refused_before_it_fills_the_memory(size: tuple[int, int]) -> None:
    content = bytearray(encoded("BMP", (64, 64)))
    content[18:22] = size[0].to_bytes(4, "little")
    content[22:26] = size[1].to_bytes(4, "little")
    with pytest.raises(UnsupportedImageError, match="too large"):
        decode_photo(bytes(content))


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_photos_of_the_usual_modes_are_decoded(mode: str) -> None:
    assert decode_photo(encoded("JPEG", mode=mode)).shape == (200, 300, 3)


def test_zeros_after_the_end_of_a_jpeg_do_no_harm() -> None:
    assert np.array_equal(decode_photo(JPEG + b"\x00" * 4000), decode_photo(JPEG))


def test_a_photo_taken_sideways_is_turned_upright_and_red_stays_red() -> None:
    exif = PillowImage.Exif()
    exif[0x0112] = 6
    content = BytesIO()
    PillowImage.new("RGB", (300, 200), (200, 10, 10)).save(content, "JPEG", exif=exif)
    photo = decode_photo(content.getvalue())
    assert photo.shape == (300, 200, 3)
    assert photo[0, 0, 2] > 150 > photo[0, 0, 0]
