"""Importing folders: what can be read is imported, what cannot fails with a reason a person understands."""

import shutil
from datetime import UTC, datetime

import pytest
from PIL import Image as Picture

from headcount.errors import BadInputError
from headcount.flow.submit import JobRequest, submit
from headcount.store import ledger
from headcount_images.models import Collection, Image
from tests.images.conftest import draw, draw_truncated, errors_of, named_in_bytes

pytestmark = pytest.mark.django_db


def names():
    return list(Image.objects.order_by("name").values_list("name", flat=True))


def test_every_image_below_the_folder_is_imported_with_its_size(imported, folder):
    draw(folder / "a.jpg", (64, 48))
    draw(folder / "deep" / "er" / "b.PNG", (10, 20))
    (folder / "notes.txt").write_text("not an image, and not taken for one")
    job = imported(folder)
    assert (job.status, job.task_total) == ("SUCCESS", 2)
    assert names() == ["a.jpg", "deep/er/b.PNG"]
    image = Image.objects.get(name="a.jpg")
    assert (image.width, image.height, image.size) == (64, 48, (folder / "a.jpg").stat().st_size)
    assert image.path == str(folder / "a.jpg")


def test_the_time_a_camera_wrote_is_kept(imported, folder):
    exif = Picture.Exif()
    exif[306] = "2026:07:01 23:59:58"
    draw(folder / "a.jpg", exif=exif)
    exif[306] = "no time at all"
    draw(folder / "b.jpg", exif=exif)
    imported(folder)
    assert Image.objects.get(name="a.jpg").taken_at == datetime(2026, 7, 1, 23, 59, 58, tzinfo=UTC)
    assert Image.objects.get(name="b.jpg").taken_at is None


def test_every_kind_of_bad_file_fails_with_its_reason_and_the_others_are_imported(deployment, imported, folder):
    for number in range(8):
        draw(folder / f"good-{number}.jpg")
    (folder / "empty.jpg").touch()
    (folder / "text.jpg").write_text("Dear diary")
    (folder / "dangling.jpg").symlink_to(folder / "gone.jpg")
    draw_truncated(folder / "stub.jpg", keep=20)
    (folder / "directory.jpg").mkdir()
    job = imported(folder)
    reasons = errors_of(job)
    assert reasons.keys() == {"empty.jpg", "text.jpg", "dangling.jpg", "stub.jpg"}
    assert reasons["empty.jpg"] == "the file is empty (0 bytes)"
    assert reasons["text.jpg"] == "the file is not an image, or of a kind that cannot be read"
    assert reasons["dangling.jpg"] == "the file cannot be read: No such file or directory"
    assert "not an image" in reasons["stub.jpg"] or "cannot be read" in reasons["stub.jpg"]
    assert (job.status, ledger.counts(job.id).saved) == ("SUCCESS", 8)
    assert len(names()) == 8


def test_a_jpeg_that_was_cut_short_behind_its_header_is_imported(imported, folder):
    whole = draw(folder / "a.jpg", (640, 480)).stat().st_size
    draw_truncated(folder / "cut.jpg", keep=whole // 50)
    job = imported(folder)
    assert (job.status, errors_of(job)) == ("SUCCESS", {})
    assert Image.objects.get(name="cut.jpg").width == 64


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("keep", [1, 2, 3, 10, 25, 60, 158, 300])
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp", ".bmp"])
def test_a_file_cut_short_anywhere_is_imported_or_fails_with_a_reason(imported, folder, suffix, keep):
    draw_truncated(folder / f"cut{suffix}", keep=keep)
    job = imported(folder)
    reasons = errors_of(job)
    assert len(names()) + len(reasons) == 1
    for reason in reasons.values():
        assert "not an image" in reason or "cannot be read" in reason


def test_the_threshold_decides_over_bad_files(deployment, imported, folder):
    draw(folder / "good.jpg")
    for number in range(2):
        (folder / f"empty-{number}.jpg").touch()
    assert imported(folder).status == "FAILURE"
    assert names() == ["good.jpg"]


def test_a_file_that_may_not_be_read_fails_with_its_reason(imported, folder, monkeypatch):
    draw(folder / "a.jpg")
    draw(folder / "locked.jpg")
    opened = Picture.open

    def refuses(path, *rest, **options):
        if "locked" in str(path):
            raise PermissionError(13, "Permission denied")
        return opened(path, *rest, **options)

    monkeypatch.setattr("headcount_images.kinds.image_import.Picture.open", refuses)
    assert errors_of(imported(folder)) == {"locked.jpg": "the file cannot be read: Permission denied"}


def test_a_file_whose_name_is_no_utf8_fails_with_a_reason_that_says_so(imported, folder):
    draw(folder / "a.jpg")
    shutil.copy(folder / "a.jpg", named_in_bytes(folder, b"b\xe4r.jpg"))
    job = imported(folder)
    ((key, reason),) = errors_of(job).items()
    assert "b" in key
    assert "UTF-8" in reason
    assert names() == ["a.jpg"]


def test_names_in_any_script_are_imported(imported, folder):
    for name in ("Bär.jpg", "蛾.jpg", "with space.jpg", "'quoted\".jpg", "semi;colon.jpg", "🦋.jpg"):
        draw(folder / name)
    job = imported(folder)
    assert (job.status, len(names())) == ("SUCCESS", 6)
    assert "蛾.jpg" in names()


def test_a_very_long_path_is_imported(imported, folder):
    draw(folder / "/".join(["x" * 200] * 4) / "a.jpg")
    draw(folder / "b.jpg")
    job = imported(folder)
    assert (job.status, len(names())) == ("SUCCESS", 2)


def test_two_very_long_paths_that_differ_at_their_ends_are_two_images(imported, folder):
    deep = folder / "/".join(["x" * 200] * 4)
    draw(deep / "a.jpg")
    draw(deep / "b.jpg")
    imported(folder)
    assert len(names()) == 2


def test_a_picture_of_absurd_size_fails_with_a_reason(imported, folder):
    draw(folder / "a.jpg")
    header = b"BM" + (54).to_bytes(4, "little") + bytes(4) + (54).to_bytes(4, "little") + (40).to_bytes(4, "little")
    size = (60_000).to_bytes(4, "little") * 2
    planes_and_depth = (1).to_bytes(2, "little") + (24).to_bytes(2, "little")
    (folder / "huge.bmp").write_bytes(header + size + planes_and_depth + bytes(24))
    reasons = errors_of(imported(folder))
    assert reasons.keys() == {"huge.bmp"}
    assert "pixels" in reasons["huge.bmp"]


def test_importing_twice_duplicates_nothing_and_brings_what_changed_up_to_date(imported, folder):
    draw(folder / "a.jpg", (64, 48))
    first = imported(folder)
    before = Image.objects.get().pk
    draw(folder / "a.jpg", (32, 16))
    draw(folder / "b.jpg")
    second = imported(folder)
    assert (first.status, second.status, second.task_total) == ("SUCCESS", "SUCCESS", 2)
    assert names() == ["a.jpg", "b.jpg"]
    image = Image.objects.get(pk=before)
    assert (image.width, image.height) == (32, 16)


def test_one_folder_can_be_imported_into_several_collections(imported, folder):
    draw(folder / "a.jpg")
    imported(folder)
    imported(folder, collection="again")
    assert sorted(Collection.objects.values_list("name", flat=True)) == ["again", "night"]
    assert Image.objects.count() == 2


@pytest.mark.parametrize(
    ("directory", "words"),
    [
        ("", "an import needs a folder"),
        ("missing", "there is no folder"),
        ("empty", "there is no image file below"),
        ("file.jpg", "there is no folder"),
        ("a\x00b", "there is no folder"),
    ],
)
def test_a_folder_that_cannot_be_imported_is_refused_before_there_is_a_job(
    deployment, project_id, tmp_path, directory, words
):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.jpg").touch()
    config = {"directory": str(tmp_path / directory) if directory else ""}
    with pytest.raises(BadInputError, match=words):
        submit(deployment, JobRequest(project_id, "import_images", config=config))
    assert Collection.objects.count() == 0
