from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headcount_images.pictures import contact_sheet
from headcount_images.pictures.boxes import LabelledBox
from headcount_images.pictures.contact_sheet import FoundInPhoto, draw_contact_sheet
from headcount_images.pictures.overlay import BOX_COLOUR, HEADER_HEIGHT, WIDEST, draw_overlay
from headcount_images.pictures.sample_night import SampleNight


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "grey.png"
    Image.new("RGB", (2 * WIDEST, 1000), (128, 128, 128)).save(path)
    return path


def found_in(night: SampleNight) -> list[FoundInPhoto]:
    return [
        FoundInPhoto(photo, [LabelledBox(*box, "insect", 0.9) for box in night.truth[photo.name]])
        for photo in night.photos
    ]


def is_box_colour(pixels: np.ndarray) -> np.ndarray:
    return (np.abs(pixels.astype(int) - BOX_COLOUR) < 60).all(axis=-1)


def test_an_overlay_is_scaled_and_its_box_is_where_the_insect_is(photo: Path, tmp_path: Path) -> None:
    destination = tmp_path / "new" / "overlay.png"
    draw_overlay(photo, [LabelledBox(200, 400, 600, 800)], destination)
    with Image.open(destination) as overlay:
        assert overlay.format == "PNG"
        assert overlay.size == (WIDEST, 500 + HEADER_HEIGHT)
        rows, columns = np.nonzero(is_box_colour(np.asarray(overlay)))
    assert (columns.min(), columns.max()) == pytest.approx((100, 300), abs=2)
    assert (rows.min(), rows.max()) == pytest.approx((200 + HEADER_HEIGHT, 400 + HEADER_HEIGHT), abs=2)


def test_label_score_and_count_are_written(photo: Path, tmp_path: Path) -> None:
    box = LabelledBox(200, 400, 600, 800)
    draw_overlay(photo, [box], tmp_path / "bare.png")
    draw_overlay(photo, [LabelledBox(200, 400, 600, 800, "insect", 0.87)], tmp_path / "labelled.png")
    draw_overlay(photo, [box, box], tmp_path / "two.png")
    bare, labelled, two = (np.asarray(Image.open(tmp_path / f"{n}.png")) for n in ("bare", "labelled", "two"))
    changed = np.nonzero((bare != labelled).any(axis=-1))
    assert changed[0].max() <= 200 + HEADER_HEIGHT, "the label does not stand above its box"
    assert changed[0].min() > HEADER_HEIGHT
    assert (bare[:HEADER_HEIGHT] != two[:HEADER_HEIGHT]).any(), "the header does not tell the count"


def test_a_label_at_the_upper_edge_does_not_cover_the_header(photo: Path, tmp_path: Path) -> None:
    draw_overlay(photo, [LabelledBox(0, 0, 600, 800)], tmp_path / "bare.png")
    draw_overlay(photo, [LabelledBox(0, 0, 600, 800, "insect", 0.87)], tmp_path / "labelled.png")
    bare, labelled = (np.asarray(Image.open(tmp_path / f"{n}.png")) for n in ("bare", "labelled"))
    assert (bare != labelled).any()
    assert (bare[: HEADER_HEIGHT - 3] == labelled[: HEADER_HEIGHT - 3]).all()


def test_a_photo_taken_sideways_is_drawn_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (3000, 2000), (128, 128, 128)).save(tmp_path / "sideways.jpg", exif=exif)
    draw_overlay(tmp_path / "sideways.jpg", [LabelledBox(1000, 2000, 1500, 2500)], tmp_path / "overlay.png")
    with Image.open(tmp_path / "overlay.png") as overlay:
        assert overlay.size == (WIDEST, round(WIDEST * 1.5) + HEADER_HEIGHT)
        rows, columns = np.nonzero(is_box_colour(np.asarray(overlay)))
    assert columns.min() == pytest.approx(WIDEST / 2, abs=3)
    assert rows.min() == pytest.approx(WIDEST + HEADER_HEIGHT, abs=3)


def test_a_photo_that_cannot_be_read_is_an_os_error(tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("no image")
    with pytest.raises(OSError, match="cannot identify"):
        draw_overlay(tmp_path / "text.jpg", [], tmp_path / "overlay.png")


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_contact_sheet_shows_every_photo_with_its_boxes(night: SampleNight, tmp_path: Path, suffix: str) -> None:
    destination = tmp_path / "new" / f"sheet{suffix}"
    photos = found_in(night)
    draw_contact_sheet(photos, destination, "A night")
    with Image.open(destination) as sheet:
        pixels = np.asarray(sheet.convert("RGB"))
    assert pixels.shape[1] > 2 * 800, "the thumbnails of a few photos are too small to judge"
    draw_contact_sheet([FoundInPhoto(one.photo, []) for one in photos], destination, "A night")
    with Image.open(destination) as sheet:
        without = np.asarray(sheet.convert("RGB"))
    assert is_box_colour(pixels).sum() > is_box_colour(without).sum() + 1000


def test_a_sheet_of_many_photos_shows_some_of_them_and_says_so(
    night: SampleNight, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    titles: list[str] = []
    draw_sheet = contact_sheet._sheet

    def spying_sheet(photos: list[FoundInPhoto], title: str, width: int) -> Image.Image:
        titles.append(f"{len(photos)}: {title}")
        return draw_sheet(photos[:1], title, width)

    monkeypatch.setattr(contact_sheet, "_sheet", spying_sheet)
    draw_contact_sheet(found_in(night) * 40, tmp_path / "sheet.jpg", "Nights")
    assert titles == ["200: Nights (200 of 240 photos shown)"]


def test_a_sheet_that_is_too_large_a_file_is_made_smaller(
    night: SampleNight, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    most = 300_000
    monkeypatch.setattr(contact_sheet, "MOST_BYTES", most)
    draw_contact_sheet(found_in(night)[:2], tmp_path / "sheet.png", "A night")
    assert most / 4 < (tmp_path / "sheet.png").stat().st_size <= most


def test_what_cannot_be_drawn_is_refused(night: SampleNight, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one photo"):
        draw_contact_sheet([], tmp_path / "sheet.png", "Nothing")
    with pytest.raises(ValueError, match=r"not sheet\.gif"):
        draw_contact_sheet(found_in(night), tmp_path / "sheet.gif", "A night")
