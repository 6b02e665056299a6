"""Files that are odd rather than bad, and names that databases do not take."""

import os
import shutil
import struct

import pytest

from headcount.errors import BadInputError
from headcount.flow.submit import JobRequest, submit
from headcount_images.models import Collection, Image
from tests.images.conftest import draw, errors_of

pytestmark = pytest.mark.django_db
EXIF_MARKER = b"\xff\xe1"


def with_exif(path, payload):
    """Write a picture whose EXIF block is these bytes."""
    whole = draw(path).read_bytes()
    block = b"Exif\x00\x00" + payload
    path.write_bytes(whole[:2] + EXIF_MARKER + struct.pack(">H", 2 + len(block)) + block + whole[2:])


def bitmap(path, width, height):
    """Write a bitmap's header that claims a size, and no pixels."""
    header = struct.pack("<2sIHHIIiiHHIIiiII", b"BM", 54, 0, 0, 54, 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    path.write_bytes(header)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data:UserWarning")
@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"garbage",
        b"XX\x00*\x00\x00\x00\x08",
        b"MM\x00*\xff\xff\xff\xff",
        b"MM\x00*\x00\x00\x00\x08\xff\xff\x01\x32",
    ],
    ids=["none", "garbage", "no TIFF", "an offset beyond the end", "cut short"],
)
def test_a_picture_with_broken_exif_is_imported_without_a_time(imported, folder, payload):
    with_exif(folder / "a.jpg", payload)
    assert imported(folder).status == "SUCCESS"
    image = Image.objects.get()
    assert (image.width, image.height, image.taken_at) == (64, 48, None)


def test_a_webp_with_broken_exif_is_imported_without_a_time(imported, folder):
    path = draw(folder / "a.webp", exif=b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x00")
    path.write_bytes(path.read_bytes().replace(b"MM\x00*", b"M\xa4\x00*"))
    assert imported(folder).status == "SUCCESS"
    assert Image.objects.get().taken_at is None


@pytest.mark.filterwarnings("default::PIL.Image.DecompressionBombWarning")
def test_a_picture_of_a_hundred_megapixels_is_imported_with_no_more_than_a_warning(imported, folder):
    bitmap(folder / "wall.bmp", 10_000, 10_000)
    with pytest.warns(Warning, match="decompression bomb"):
        assert imported(folder).status == "SUCCESS"
    assert Image.objects.get().width == 10_000


@pytest.mark.parametrize("side", [50_000, 2**31 - 1])
def test_a_header_that_claims_an_absurd_size_fails_alone_with_that_reason(imported, folder, side):
    draw(folder / "a.jpg")
    bitmap(folder / "bomb.bmp", side, side)
    job = imported(folder)
    assert job.status == "SUCCESS"
    ((key, reason),) = errors_of(job).items()
    assert key == "bomb.bmp"
    assert reason.startswith("the image is too large: ")
    assert str(side * side) in reason


def test_a_picture_without_area_fails_with_a_reason(imported, folder):
    draw(folder / "a.jpg")
    bitmap(folder / "flat.bmp", 0, 10)
    job = imported(folder)
    assert job.status == "SUCCESS"
    assert errors_of(job).keys() == {"flat.bmp"}


def test_a_pipe_is_not_waited_for(imported, folder):
    draw(folder / "a.jpg")
    os.mkfifo(folder / "pipe.jpg")
    assert errors_of(imported(folder)) == {"pipe.jpg": "the file is empty (0 bytes)"}


def test_a_link_to_a_folder_is_passed_over(imported, folder):
    draw(folder / "a.jpg")
    (folder / "loop.jpg").symlink_to(folder)
    job = imported(folder)
    assert (job.status, job.task_total) == ("SUCCESS", 1)


def test_a_name_that_is_no_utf8_is_kept_apart_from_one_that_looks_like_it(imported, folder):
    draw(folder / "a.jpg")
    shutil.copy(folder / "a.jpg", folder / r"b\udce4r.jpg")
    for name in (b"b\xe4r.jpg", b"b\xe5r.jpg"):
        shutil.copy(folder / "a.jpg", folder / os.fsdecode(name))
    job = imported(folder)
    assert (job.status, job.task_total) == ("SUCCESS", 4)
    assert len(errors_of(job)) == 2
    assert Image.objects.filter(name=r"b\udce4r.jpg").exists()


def test_a_folder_in_it_whose_name_is_no_utf8_spoils_its_own_files_alone(imported, folder):
    draw(folder / "a.jpg")
    draw(folder / os.fsdecode(b"n\xe4chte") / "b.jpg")
    job = imported(folder)
    assert job.status == "SUCCESS"
    ((_, reason),) = errors_of(job).items()
    assert "UTF-8" in reason


def test_importing_again_brings_size_and_time_up_to_date_and_keeps_what_is_gone(imported, folder):
    draw(folder / "a.jpg")
    draw(folder / "gone.jpg")
    imported(folder)
    (folder / "gone.jpg").unlink()
    draw(folder / "a.jpg", (200, 100))
    job = imported(folder)
    assert (job.status, job.task_total) == ("SUCCESS", 1)
    image = Image.objects.get(name="a.jpg")
    assert (image.width, image.height, image.size) == (200, 100, (folder / "a.jpg").stat().st_size)
    assert Image.objects.filter(name="gone.jpg").exists()


def refused(deployment, project_id, **config):
    with pytest.raises(BadInputError) as complaint:
        submit(deployment, JobRequest(project_id, "import_images", config=config))
    assert not Collection.objects.exists()
    return str(complaint.value)


@pytest.mark.parametrize("name", ["x" * 201, "\udce4"], ids=["too long", "no UTF-8"])
def test_a_collection_name_that_cannot_be_kept_is_refused(deployment, project_id, folder, name):
    draw(folder / "a.jpg")
    assert "1 to 200 characters" in refused(deployment, project_id, directory=str(folder), collection=name)


def test_a_folder_with_a_long_name_can_be_imported_under_a_shorter_one(imported, deployment, project_id, tmp_path):
    folder = tmp_path / ("n" * 220)
    draw(folder / "a.jpg")
    assert "1 to 200 characters" in refused(deployment, project_id, directory=str(folder))
    assert imported(folder, collection="night").status == "SUCCESS"


def test_a_folder_whose_name_is_no_utf8_is_refused_with_that_reason(deployment, project_id, tmp_path):
    broken = draw(tmp_path / os.fsdecode(b"n\xe4cht") / "a.jpg").parent
    said = refused(deployment, project_id, directory=str(broken))
    assert "UTF-8" in said
    said.encode()
