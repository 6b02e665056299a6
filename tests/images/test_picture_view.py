"""The addresses under which workers fetch pictures: signed, and plain about what is wrong."""

from urllib.parse import urlsplit

import pytest
from django.test import Client

from headcount.domain.records import LeasedTask
from headcount_images.kinds.detection import DetectionKind
from headcount_images.links import picture_url
from headcount_images.models import Image
from tests.api.callers import assert_problem
from tests.images.conftest import draw

pytestmark = pytest.mark.django_db


@pytest.fixture
def image(imported, folder):
    draw(folder / "a.jpg")
    imported(folder)
    return Image.objects.get()


def fetch(url):
    parts = urlsplit(url)
    return Client().get(f"{parts.path}?{parts.query}")


def other_signature(image_id):
    return urlsplit(picture_url("", image_id)).query


def test_the_address_in_a_task_brings_the_bytes_of_the_file(image, folder):
    task = LeasedTask(0, str(image.pk), {}, 1)
    presented = DetectionKind().present(None, task, "https://moths.example")
    assert presented["image_url"].startswith("https://moths.example/media/images/")
    response = fetch(presented["image_url"])
    assert response.status_code == 200
    assert b"".join(response.streaming_content) == (folder / "a.jpg").read_bytes()
    assert response["Content-Type"] == "image/jpeg"
    assert response["Content-Length"] == str(image.size)


def test_an_address_without_a_signature_is_refused(image):
    response = Client().get(f"/media/images/{image.pk}")
    assert_problem(response, 403, "no valid signature", "claimed task")


@pytest.mark.parametrize("signature", ["", "wrong", "a:b", "ä", "\x00", "\ufffd", "x" * 5000])
def test_a_wrong_signature_is_refused(image, signature):
    response = Client().get(f"/media/images/{image.pk}", {"signature": signature})
    assert_problem(response, 403, "no valid signature")


def test_the_signature_of_another_image_is_refused(image):
    response = Client().get(f"/media/images/{image.pk}?{other_signature(image.pk + 1)}")
    assert_problem(response, 403, "no valid signature")


def test_a_signature_that_was_cut_is_refused(image):
    assert_problem(fetch(picture_url("", image.pk)[:-1]), 403, "no valid signature")


def test_an_image_whose_file_was_deleted_is_told_so(image, folder):
    (folder / "a.jpg").unlink()
    assert_problem(fetch(picture_url("", image.pk)), 404, "cannot be read", "No such file or directory")


def test_an_image_whose_file_became_a_folder_is_told_so(image, folder):
    (folder / "a.jpg").unlink()
    (folder / "a.jpg").mkdir()
    assert_problem(fetch(picture_url("", image.pk)), 404, "cannot be read", "Is a directory")


@pytest.mark.parametrize("image_id", [0, 4711, 2**63, 10**40])
def test_an_unknown_image_is_told_so(db, image_id):
    assert_problem(fetch(picture_url("", image_id)), 404, f"there is no image {image_id}")


@pytest.mark.parametrize("image_id", ["x", "-1", "1.5", "..%2Fsecret.key"])
def test_an_id_that_is_no_number_leads_nowhere(db, image_id):
    assert_problem(Client().get(f"/media/images/{image_id}"), 404, "there is nothing at")
