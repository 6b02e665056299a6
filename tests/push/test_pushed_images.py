"""Image jobs through a push service: taking its answer apart, and a whole job with the SDK's own server."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest
from PIL import Image as Picture
from pytest_django.live_server_helper import LiveServer

from headcount.domain.states import DispatchMode, JobState
from headcount.errors import BadInputError
from headcount.flow.run_job import run_job
from headcount.flow.submit import JobRequest, submit
from headcount.models import Task
from headcount.ports.deployment import Deployment
from headcount.store import jobs, registry
from headcount.testing.clock import FrozenClock
from headcount.testing.factories import EPOCH
from headcount.wiring import build
from headcount_images.models import Detection
from headcount_images.pushed import split
from headcount_worker import Detection as Found
from headcount_worker import Image, pipeline
from headcount_worker.push_server import PushServer
from headcount_worker.stopping import Stopping
from tests.settings import HEADCOUNT


@pipeline(slug="sizes")
def sizes(image: Image) -> Iterator[Found]:
    with Picture.open(image.open()) as picture:
        if picture.width == 13:
            raise ValueError("an unlucky width")
        yield Found.at(0, 0, picture.width, picture.height, label="all of it", score=1.0)


@contextmanager
def serving() -> Iterator[str]:
    stopping = Stopping()
    server = PushServer([sizes], "127.0.0.1", 0, stopping)
    thread = Thread(target=server.run)
    thread.start()
    try:
        yield server.url
    finally:
        stopping.drain("the test is over")
        thread.join()


def make_pictures(folder: Path, widths: Sequence[int]) -> None:
    for width in widths:
        Picture.new("RGB", (width, 5)).save(folder / f"{width:03}.png")


@pytest.mark.django_db(transaction=True)
def test_a_sync_api_job_is_done_by_a_served_function(
    live_server: LiveServer, clock: FrozenClock, tmp_path: Path
) -> None:
    deployment = build(HEADCOUNT.model_copy(update={"public_url": live_server.url}), clock)
    make_pictures(tmp_path, [10, 11, 12, 13, *range(20, 27)])
    with serving() as url:
        job = submitted(deployment, url, tmp_path)
        run_job(deployment, job)
    ended = jobs.get(job.job_id)
    assert ended.state is JobState.SUCCESS
    assert sorted(Detection.objects.values_list("x2", flat=True)) == [10, 12, *range(20, 27)]
    errors = dict(Task.objects.filter(job_id=job.job_id, state="failed").values_list("payload__name", "error"))
    assert errors["013.png"] == "ValueError: an unlucky width"
    assert "there is no image at this address" in errors["011.png"]
    assert len(errors) == 2


def submitted(deployment: Deployment, url: str, folder: Path) -> Any:
    """A job over the pictures of a folder, one of which is gone by the time it is worked on."""
    project_id = jobs.ensure_project("pushed")
    registry.add_push_service(project_id, "box", url, ["sizes"], EPOCH)
    config = {"directory": str(folder), "collection": "night"}
    run_job(deployment, submit(deployment, JobRequest(project_id, "import_images", config=config)).ref)
    (folder / "011.png").unlink()
    request = JobRequest(project_id, "ml", DispatchMode.SYNC_API, "sizes", config={"collection": "night"})
    return submit(deployment, request).ref


def detection(image: str) -> dict[str, Any]:
    return {"source_image_id": image, "bbox": {}}


def test_each_image_gets_its_own_detections_and_its_share_of_the_time() -> None:
    answer = {
        "pipeline": "p",
        "total_time": 3.0,
        "source_images": [{"id": 1, "url": "u"}, {"id": "2"}],
        "detections": [detection("2"), detection("1"), detection("2"), detection("9")],
        "errors": [{"image_id": "3", "error": "dark"}],
    }
    parts = split(answer)
    assert parts["1"] == {
        "pipeline": "p",
        "total_time": 1.5,
        "source_images": [{"id": 1, "url": "u"}],
        "detections": [detection("1")],
    }
    assert parts["2"]["detections"] == [detection("2"), detection("2")]
    assert parts["3"] == {"image_id": "3", "error": "dark"}
    assert set(parts) == {"1", "2", "3"}, "an image that was not looked at is not answered for"


@pytest.mark.parametrize(
    "answer",
    [{}, {"source_images": [], "detections": {}}, {"source_images": ["1"], "detections": []}, {"detections": []}],
)
def test_an_answer_that_cannot_be_taken_apart_is_refused(answer: dict[str, Any]) -> None:
    with pytest.raises(BadInputError, match="needs a list"):
        split(answer)


def test_the_server_says_that_it_lives_and_what_it_offers() -> None:
    with serving() as url:
        assert httpx.get(f"{url}/livez").json() == {"status": "ok"}
        assert httpx.get(f"{url}/info").json()["pipelines"][0]["slug"] == "sizes"
        assert httpx.get(f"{url}/else").status_code == 404


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b'{"pipeline": "other", "source_images": []}', 404, "there are: sizes"),
        (b'{"pipeline": "sizes"}', 422, "source_images"),
        (b"[", 422, "JSON"),
    ],
)
def test_the_server_refuses_in_words(body: bytes, status: int, words: str) -> None:
    with serving() as url:
        answer = httpx.post(f"{url}/process", content=body)
    assert answer.status_code == status
    assert words in answer.json()["detail"]
    assert answer.headers["content-type"] == "application/problem+json"


def test_an_image_whose_address_is_none_is_an_error_of_its_own() -> None:
    with serving() as url:
        body = {"pipeline": "sizes", "source_images": [{"id": "1", "url": "/no/host"}]}
        answer = httpx.post(f"{url}/process", json=body).json()
    assert answer["errors"][0]["image_id"] == "1"
    assert "not an HTTP URL" in answer["errors"][0]["error"]
    assert answer["source_images"] == []
