import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from headcount_images.pictures.sample_night import (
    BAR_HEIGHT,
    EXIF_DATE_ORIGINAL,
    EXIF_DESCRIPTION,
    EXIF_IFD,
    HEIGHT,
    MOST_INSECTS,
    WIDTH,
    SampleNight,
    draw_sample_night,
    read_sample_night,
)


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_files_are_named_and_sized_like_a_camera_s(night: SampleNight) -> None:
    assert [photo.name for photo in night.photos[:2]] == [
        "sample_20240701220000-0001.jpg",
        "sample_20240701220300-0002.jpg",
    ]
    assert len(night.photos) == 6
    assert all(cv2.imread(str(photo)).shape == (HEIGHT, WIDTH, 3) for photo in night.photos)


def test_the_truth_says_that_it_is_synthetic(night: SampleNight) -> None:
    truth = json.loads((night.directory / "truth.json").read_text())
    assert truth["synthetic"] is True
    assert truth["seed"] == 7
    assert {name: [tuple(box) for box in boxes] for name, boxes in truth["boxes"].items()} == night.truth


def test_each_photo_says_that_it_is_synthetic_and_when_it_was_taken(night: SampleNight) -> None:
    with Image.open(night.photos[1]) as photo:
        exif = photo.getexif()
        assert "SYNTHETIC" in exif[EXIF_DESCRIPTION]
        assert exif.get_ifd(EXIF_IFD)[EXIF_DATE_ORIGINAL] == "2024:07:01 22:03:00"
    bar = cv2.imread(str(night.photos[1]))[HEIGHT - BAR_HEIGHT :]
    assert bar.max() > 200, "no text in the bar"
    assert np.median(bar) < 40


def test_boxes_lie_on_the_sheet_and_are_as_large_as_promised(night: SampleNight) -> None:
    boxes = [box for found in night.truth.values() for box in found]
    assert len(boxes) > 10
    assert max(len(found) for found in night.truth.values()) <= MOST_INSECTS
    for left, top, right, bottom in boxes:
        assert 0 <= left < right <= WIDTH
        assert 0 <= top < bottom <= HEIGHT - BAR_HEIGHT
        assert 15 <= max(right - left, bottom - top) <= 200


def test_something_is_drawn_where_the_truth_says(night: SampleNight) -> None:
    photos = {photo.name: cv2.imread(str(photo)) for photo in night.photos}
    # The sheet is the same in all photos, so that the median of them is the sheet without insects.
    sheet = np.median(np.stack(list(photos.values())), axis=0)
    for name, boxes in night.truth.items():
        difference = np.abs(photos[name] - sheet).max(axis=2)
        elsewhere = np.median(difference)
        for left, top, right, bottom in boxes:
            inside = difference[int(top) : int(bottom), int(left) : int(right)]
            assert np.percentile(inside, 80) > elsewhere + 4


def test_the_same_seed_gives_the_same_bytes_with_any_number_of_workers(tmp_path: Path) -> None:
    draw_sample_night(tmp_path / "one", images=3, seed=5, workers=1)
    draw_sample_night(tmp_path / "three", images=3, seed=5, workers=3)
    assert contents(tmp_path / "one") == contents(tmp_path / "three")


def test_another_seed_gives_another_night_in_place_of_the_first(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    first = draw_sample_night(tmp_path, images=3, seed=5)
    second = draw_sample_night(tmp_path, images=2, seed=6)
    assert second.truth != {name: first.truth[name] for name in second.truth}
    assert sorted(contents(tmp_path)) == sorted([*second.truth, "truth.json", "notes.txt"])


def test_a_complete_night_is_left_alone_and_a_damaged_one_drawn_again(tmp_path: Path) -> None:
    drawn = draw_sample_night(tmp_path, images=2, seed=5)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert draw_sample_night(tmp_path, images=2, seed=5) == drawn == read_sample_night(tmp_path)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before
    whole = contents(tmp_path)
    drawn.photos[0].unlink()
    draw_sample_night(tmp_path, images=2, seed=5)
    assert contents(tmp_path) == whole
    (tmp_path / "truth.json").write_text('{"synthetic": true, "version"')
    draw_sample_night(tmp_path, images=2, seed=5)
    assert contents(tmp_path) == whole


def test_a_truth_that_names_other_files_removes_none_of_them(tmp_path: Path) -> None:
    night = tmp_path / "night"
    draw_sample_night(night, images=1, seed=5)
    (tmp_path / "precious.jpg").write_text("mine")
    truth = json.loads((night / "truth.json").read_text())
    truth["boxes"]["../precious.jpg"] = []
    (night / "truth.json").write_text(json.dumps(truth))
    draw_sample_night(night, images=1, seed=5)
    assert (tmp_path / "precious.jpg").read_text() == "mine"


def test_what_cannot_be_drawn_or_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one image"):
        draw_sample_night(tmp_path, images=0)
    with pytest.raises(FileNotFoundError, match="no sample night"):
        read_sample_night(tmp_path)
