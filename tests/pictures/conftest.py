"""Photos to test with: a small sample night, and real ones where they are at hand."""

import os
from pathlib import Path

import pytest

from headcount_images.pictures.sample_night import SampleNight, draw_sample_night

REAL_PHOTOS = Path(__file__).parents[3] / "shared" / "photos"


@pytest.fixture(scope="session")
def night(tmp_path_factory: pytest.TempPathFactory) -> SampleNight:
    return draw_sample_night(tmp_path_factory.mktemp("night"), images=6, seed=7)


@pytest.fixture(scope="session")
def real_photos() -> list[Path]:
    directory = Path(os.environ.get("HEADCOUNT_TEST_PHOTOS", REAL_PHOTOS))
    photos = sorted(directory.glob("*.jpg"))
    if not photos:
        pytest.skip("no real photos here; HEADCOUNT_TEST_PHOTOS names their directory")
    return photos
