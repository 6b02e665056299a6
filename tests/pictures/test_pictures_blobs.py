from pathlib import Path

import cv2
import numpy as np
import pytest

from headcount_images.pictures.boxes import Box
from headcount_images.pictures.sample_night import SampleNight, draw_sample_night
from headcount_images.pictures.score import overlap, score, total
from headcount_worker.examples.light_sheet_blobs import find_blobs
from headcount_worker.examples.sheet import Photo


def boxes_in(photo: Photo) -> list[Box]:
    return [(blob.x1, blob.y1, blob.x2, blob.y2) for blob in find_blobs(photo)]


def read(path: Path) -> Photo:
    return cv2.imread(str(path))


def empty_sheet(height: int = 1200, width: int = 1600) -> Photo:
    noise = np.random.default_rng(1).normal(0, 3, (height, width, 1))
    fall = np.linspace(240, 190, width)[None, :, None]
    return np.clip(fall + noise, 0, 255).repeat(3, axis=2).astype(np.uint8)


def finds(photo: Photo, box: Box) -> bool:
    return any(overlap(box, found) > 0.5 for found in boxes_in(photo))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_sample_night_is_found_almost_completely(seed: int, tmp_path: Path) -> None:
    drawn = draw_sample_night(tmp_path, images=12, seed=seed)
    result = total(score(drawn.truth[photo.name], boxes_in(read(photo))) for photo in drawn.photos)
    assert result.true_positives > 40
    assert result.recall >= 0.97
    assert result.precision >= 0.97


def test_scores_are_between_0_and_1_and_the_surest_come_first(night: SampleNight) -> None:
    scores = [blob.score for blob in find_blobs(read(night.photos[0]))]
    assert len(scores) > 1
    assert scores == sorted(scores, reverse=True)
    assert all(0 < value <= 1 for value in scores)


def test_nothing_is_found_on_an_empty_sheet() -> None:
    assert boxes_in(empty_sheet()) == []


@pytest.mark.parametrize("grey", [0, 128, 255])
def test_nothing_is_found_in_a_photo_of_one_colour(grey: int) -> None:
    assert boxes_in(np.full((600, 800, 3), grey, np.uint8)) == []


def test_nothing_is_found_in_a_photo_too_small_to_show_a_sheet() -> None:
    assert boxes_in(np.zeros((1, 3000, 3), np.uint8)) == []


@pytest.mark.parametrize(("height", "width"), [(540, 960), (1200, 1600), (2400, 1800), (3000, 4000)])
def test_boxes_are_in_pixels_of_the_photo_as_given(height: int, width: int) -> None:
    photo = empty_sheet(height, width)
    unit = max(height, width) // 40
    cv2.ellipse(photo, (width // 4, height // 2), (unit, 2 * unit), 0, 0, 360, (40, 60, 80), -1)
    truth = (width // 4 - unit, height // 2 - 2 * unit, width // 4 + unit, height // 2 + 2 * unit)
    [found] = boxes_in(photo)
    assert overlap(truth, found) > 0.8


def test_a_dark_insect_a_coloured_one_and_a_pale_one_are_found() -> None:
    photo = empty_sheet()
    for x, colour in ((300, (30, 30, 30)), (800, (120, 200, 235)), (1200, (178, 180, 180))):
        cv2.ellipse(photo, (x, 600), (40, 70), 20, 0, 360, colour, -1)
    assert len(boxes_in(photo)) == 3


def test_two_insects_that_touch_are_two() -> None:
    photo = empty_sheet()
    cv2.circle(photo, (600, 600), 50, (40, 60, 80), -1)
    cv2.circle(photo, (704, 600), 50, (40, 60, 80), -1)
    cv2.line(photo, (600, 600), (704, 600), (40, 60, 80), 10)
    assert len(boxes_in(photo)) == 2


def test_legs_and_antennae_are_left_out_of_the_box() -> None:
    photo = empty_sheet()
    cv2.ellipse(photo, (600, 600), (40, 70), 0, 0, 360, (40, 60, 80), -1)
    cv2.line(photo, (500, 560), (700, 640), (40, 60, 80), 4)
    [found] = boxes_in(photo)
    assert overlap((560, 530, 640, 670), found) > 0.85


def test_an_insect_cut_off_by_the_photo_s_side_is_found() -> None:
    photo = empty_sheet()
    cv2.ellipse(photo, (0, 600), (60, 90), 0, 0, 360, (40, 60, 80), -1)
    assert finds(photo, (0, 510, 60, 690))


def test_cards_clips_seams_frames_and_information_bars_are_not_insects() -> None:
    photo = empty_sheet()
    for left in (380, 528):  # a checkered scale on a card, between two grey blocks
        cv2.rectangle(photo, (left, 300), (left + 20, 332), (120, 120, 120), -1)
    for column in range(8):
        top = 300 + 16 * (column % 2)
        cv2.rectangle(photo, (400 + 16 * column, top), (415 + 16 * column, top + 15), (30, 30, 30), -1)
    cv2.rectangle(photo, (900, 0), (990, 45), (40, 40, 40), -1)  # a clip
    cv2.line(photo, (0, 700), (1600, 760), (150, 150, 150), 3)  # a seam
    cv2.rectangle(photo, (1592, 300), (1600, 420), (20, 20, 20), -1)  # the edge of a frame
    cv2.rectangle(photo, (0, 1150), (1600, 1200), (15, 15, 15), -1)
    cv2.putText(photo, "2024-07-01 22:00 SYNTHETIC", (20, 1185), cv2.FONT_HERSHEY_SIMPLEX, 1, (240, 240, 240), 2)
    assert boxes_in(photo) == []


def test_an_insect_just_above_the_information_bar_is_found() -> None:
    photo = empty_sheet()
    cv2.rectangle(photo, (0, 1150), (1600, 1200), (15, 15, 15), -1)
    cv2.ellipse(photo, (800, 1120), (50, 25), 0, 0, 360, (40, 60, 80), -1)
    assert finds(photo, (750, 1095, 850, 1145))


# A margin around what the pipeline gave when its boxes were looked at and nearly all of them sat on insects; a change
# that moves a count out of it deserves another look.
@pytest.mark.parametrize(
    ("part_of_name", "least", "most"),
    [("panama_01-20231110214539", 38, 46), ("sequential_20220728232239", 12, 18), ("vermont_20220622000459", 18, 24)],
)
def test_real_photos_give_about_as_many_boxes_as_insects(
    real_photos: list[Path], part_of_name: str, least: int, most: int
) -> None:
    [photo] = [path for path in real_photos if part_of_name in path.name]
    assert least <= len(boxes_in(read(photo))) <= most


# Read off drawn boxes that were checked by eye against the photo: large and small, dark, patterned, pale, and one that
# the photo's side cuts off.
@pytest.mark.parametrize(
    ("part_of_name", "box"),
    [
        ("panama_01-20231110214539", (317, 667, 526, 780)),
        ("panama_01-20231110214539", (1006, 507, 1157, 580)),
        ("panama_01-20231110214539", (1326, 850, 1351, 887)),
        ("panama_01-20231110224529", (403, 654, 634, 898)),
        ("panama_01-20231111015309", (1193, 198, 1570, 370)),
        ("sequential_20220728232239", (688, 414, 848, 513)),
        ("sequential_20220728232239", (372, 797, 417, 853)),
        ("vermont_20220622000459", (318, 452, 530, 556)),
        ("vermont_20220622000459", (935, 275, 998, 417)),
        ("vermont_20220622000459", (1730, 0, 1792, 56)),
    ],
)
def test_boxes_sit_on_insects_in_real_photos(real_photos: list[Path], part_of_name: str, box: Box) -> None:
    [photo] = [path for path in real_photos if part_of_name in path.name]
    assert finds(read(photo), box)


def test_a_real_sheet_without_insects_gives_no_box(real_photos: list[Path]) -> None:
    [photo] = [path for path in real_photos if "vermont_20220622200400" in path.name]
    assert boxes_in(read(photo)) == []
