"""One result that cannot be understood, stored or saved costs its own task and nothing else."""

from collections.abc import Mapping
from typing import Any

import pytest

from headcount.domain.records import Answer, TaskCounts
from headcount.domain.states import AnswerStatus, DispatchMode, JobState
from headcount.flow import claim, receive, submit
from headcount.flow.run_job import run_job
from headcount.models import Job
from headcount.ports.job_kind import ParsedResult
from headcount.store import jobs, ledger
from headcount.testing.clock import FrozenClock
from headcount.testing.factories import PIPELINE, make_project, memory_deployment
from headcount.testing.kinds import notes_by_key
from headcount_images.kinds.detection import DetectionKind
from headcount_images.models import Collection, Detection, Image
from tests.machine.world import World
from tests.settings import HEADCOUNT

pytestmark = pytest.mark.django_db(transaction=True)

SAVED, REJECTED = AnswerStatus.SAVED, AnswerStatus.REJECTED
FINE = {"note": "fine"}


def post_between_fine_ones(world: World, raw: Any) -> list[Answer]:
    """Post a result as the second of three, and let the job end."""
    world.submit(3, DispatchMode.ASYNC_API, 0.5, ())
    world.dispatch()
    held = world.claim(world.job_ids[0], 3)
    results = [FINE, raw, FINE]
    posted = [{"reply_subject": item.token, "result": result} for item, result in zip(held, results, strict=True)]
    answers = receive.receive(world.deployment, world.job_ids[0], world.project_id, posted)
    world.drain()
    return list(answers)


@pytest.mark.parametrize(
    "raw",
    [
        {"poison": "no"},
        {"poison": "\ud800 \x00"},
        {"note": float("inf")},
        {"note": float("nan")},
        {"unknown": 1},
        "no object",
        None,
    ],
    ids=repr,
)
def test_a_result_that_cannot_be_saved_fails_its_task_alone(world: World, raw: Any) -> None:
    answers = post_between_fine_ones(world, raw)
    job_id = world.job_ids[0]
    assert [answer.status for answer in answers][::2] == [SAVED, SAVED]
    assert ledger.rows(job_id, [0])[0].state == "saved"
    assert jobs.status_of(job_id) is JobState.SUCCESS
    if answers[1].status is REJECTED:
        assert ledger.counts(job_id) == TaskCounts(saved=2, failed=1)
        assert notes_by_key(job_id) == {"k0": 1, "k2": 1}


@pytest.mark.parametrize("text", ["a \ud800 b", "\x00", "", "x" * 10_000], ids=ascii)
def test_an_error_of_any_text_is_recorded(world: World, text: str) -> None:
    answers = post_between_fine_ones(world, {"error": text})
    assert [answer.status for answer in answers] == [SAVED, SAVED, SAVED]
    error = ledger.rows(world.job_ids[0], [1])[1].error
    assert error
    assert len(error) <= 2000


@pytest.mark.parametrize("key", ["\ud800", "\x00", "", "k0"], ids=ascii)
@pytest.mark.parametrize("result", [{"error": "e"}, FINE])
def test_a_result_that_names_another_task_is_rejected(world: World, key: str, result: Mapping[str, str]) -> None:
    answers = post_between_fine_ones(world, {**result, "key": key})
    assert [answer.status for answer in answers] == [SAVED, REJECTED, SAVED]
    assert ledger.counts(world.job_ids[0]) == TaskCounts(saved=3)


def test_a_result_that_breaks_its_kind_fails_its_task_alone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    real_parse = world.kind.parse

    def parse(raw: Mapping[str, Any]) -> ParsedResult:
        return real_parse(raw) if raw != {"note": "breaks"} else raw["scores"]

    monkeypatch.setattr(world.kind, "parse", parse)
    answers = post_between_fine_ones(world, {"note": "breaks"})
    assert [answer.status for answer in answers] == [SAVED, REJECTED, SAVED]
    assert ledger.rows(world.job_ids[0], [1])[1].error == "the result does not fit: KeyError('scores')"


def test_a_result_for_an_image_that_is_gone_fails_its_task_alone(clock: FrozenClock) -> None:
    """Its foreign key breaks only when the transaction is committed."""
    deployment = memory_deployment(HEADCOUNT, clock, DetectionKind())
    project_id = make_project()
    job = detection_job(deployment, project_id, images=3)
    held = claim.claim(deployment, job, 3, claim.Claimer(project_id, "worker", [PIPELINE]))
    Image.objects.filter(pk=int(held[1].task.key)).delete()
    posted = [{"reply_subject": item.token, "result": detection_of(item.task.key)} for item in held]
    answers = receive.receive(deployment, job.id, project_id, posted)
    assert [answer.status for answer in answers] == [SAVED, REJECTED, SAVED]
    assert ledger.counts(job.id) == TaskCounts(saved=2, failed=1)
    assert Detection.objects.filter(job_id=job.id).count() == 2
    assert Job.objects.get(pk=job.id).status == JobState.SUCCESS


def detection_job(deployment, project_id: int, images: int):
    collection = Collection.objects.create(project_id=project_id, name="night")
    for number in range(images):
        Image.objects.create(collection=collection, name=f"{number}", path=f"/{number}", width=9, height=9, size=1)
    request = submit.JobRequest(project_id, "ml", pipeline=PIPELINE, config={"collection": "night"})
    job = submit.submit(deployment, request)
    deployment.dispatcher.run_next(lambda ref: run_job(deployment, ref), lambda ref, reason: None)
    return jobs.get(job.id)


def detection_of(key: str) -> dict[str, Any]:
    algorithm = {"name": "blobs", "key": "blobs"}
    box = {"x1": 0, "y1": 0, "x2": 1, "y2": 1}
    detection = {"source_image_id": key, "bbox": box, "algorithm": algorithm, "classifications": []}
    return {
        "pipeline": PIPELINE,
        "total_time": 0.1,
        "source_images": [{"id": key, "url": ""}],
        "detections": [{**detection, "timestamp": "2026-01-01T00:00:00Z"}],
    }
