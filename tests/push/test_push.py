"""The flow of a sync_api job: batches go to a push service, its answers through the same account as all others."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from typing import Any, ClassVar

import pytest

from headcount.domain.records import JobRecord
from headcount.domain.states import DispatchMode, JobState, Redo
from headcount.errors import BadInputError, ConfigurationError, DispatchInterruptedError, PermanentError, TemporaryError
from headcount.flow.cancel import cancel
from headcount.flow.push import BATCH, push, service_address
from headcount.flow.retry import retry
from headcount.flow.run_job import run_job
from headcount.flow.submit import JobRequest, submit
from headcount.models import Job, Task
from headcount.ports.deployment import Deployment
from headcount.store import jobs, ledger, registry
from headcount.testing.clock import FrozenClock
from headcount.testing.factories import EPOCH, PIPELINE, make_project, make_started_job, memory_deployment
from headcount.testing.kinds import NoteKind, notes_by_key
from headcount.testing.servers import free_port
from tests.push.scripted_service import ScriptedService
from tests.settings import HEADCOUNT

pytestmark = pytest.mark.django_db


@pytest.fixture
def deployment(clock: FrozenClock) -> Deployment:
    return memory_deployment(HEADCOUNT.model_copy(update={"public_url": "https://headcount.example/"}), clock)


@pytest.fixture
def service() -> Iterator[ScriptedService]:
    with ScriptedService(note_all).running() as running:
        yield running


def note_all(body: dict[str, Any]) -> tuple[int, Any]:
    return 200, {"results": [{"id": task["id"], "result": {"note": "seen"}} for task in body["tasks"]]}


def job_for(url: str, tasks: int, **fields: Any) -> JobRecord:
    project_id = make_project()
    registry.add_push_service(project_id, "box", url, [PIPELINE], EPOCH)
    return make_started_job(tasks, project_id, dispatch_mode=DispatchMode.SYNC_API, **fields)


def keys_asked(service: ScriptedService) -> list[list[str]]:
    return [[task["id"] for task in body["tasks"]] for body in service.asked]


def test_every_task_is_pushed_once_in_batches_and_the_job_ends(
    deployment: Deployment, service: ScriptedService
) -> None:
    job = job_for(service.url, tasks=20)
    run_job(deployment, job.ref)
    assert jobs.get(job.id).state is JobState.SUCCESS
    assert [len(keys) for keys in keys_asked(service)] == [BATCH, BATCH, 20 - 2 * BATCH]
    assert list(chain.from_iterable(keys_asked(service))) == [f"k{number}" for number in range(20)]
    assert set(notes_by_key(job.id).values()) == {1}
    assert service.asked[0]["path"] == "/process"
    assert service.asked[0]["pipeline"] == PIPELINE


def test_a_task_left_out_of_the_answer_is_asked_for_again(deployment: Deployment, service: ScriptedService) -> None:
    job = job_for(service.url, tasks=3)

    def forget_the_second_once(body: dict[str, Any]) -> tuple[int, Any]:
        status, answer = note_all(body)
        if len(service.asked) == 1:
            del answer["results"][1]
        return status, answer

    service.answer = forget_the_second_once
    run_job(deployment, job.ref)
    assert keys_asked(service) == [["k0", "k1", "k2"], ["k1"]]
    assert jobs.get(job.id).state is JobState.SUCCESS


def test_a_task_never_answered_fails_when_its_attempts_are_spent(
    deployment: Deployment, service: ScriptedService
) -> None:
    job = job_for(service.url, tasks=2)
    service.answer = lambda _: (200, {"results": []})
    run_job(deployment, job.ref)
    assert len(service.asked) == deployment.settings.max_attempts
    assert jobs.get(job.id).state is JobState.FAILURE
    assert ledger.counts(job.id).failed == 2


@pytest.mark.parametrize(("status", "answer"), [(503, {}), (429, {}), (200, b"<html>"), (200, b"[]"), (302, b"")])
def test_a_service_that_may_recover_is_left_to_the_dispatcher(
    deployment: Deployment, service: ScriptedService, status: int, answer: Any
) -> None:
    job = job_for(service.url, tasks=BATCH + 1)
    service.answer = lambda body: note_all(body) if len(service.asked) == 1 else (status, answer)
    with pytest.raises(TemporaryError, match="push service 'box'"):
        run_job(deployment, job.ref)
    assert ledger.counts(job.id).saved == BATCH
    service.answer = note_all
    run_job(deployment, job.ref)
    assert jobs.get(job.id).state is JobState.SUCCESS
    assert Task.objects.get(job_id=job.id, ordinal=BATCH).attempts == 2


def test_a_service_that_is_nowhere_is_named(deployment: Deployment) -> None:
    job = job_for(f"http://127.0.0.1:{free_port()}", tasks=1)
    with pytest.raises(TemporaryError, match=r"push service 'box' does not answer: .*refused"):
        run_job(deployment, job.ref)


def test_a_service_that_stays_away_fails_the_tasks_it_was_sent(deployment: Deployment) -> None:
    job = job_for(f"http://127.0.0.1:{free_port()}", tasks=1)
    for _ in range(deployment.settings.max_attempts):
        with pytest.raises(TemporaryError):
            run_job(deployment, job.ref)
    run_job(deployment, job.ref)
    assert jobs.get(job.id).state is JobState.FAILURE


def test_a_refused_batch_fails_with_the_words_of_the_service(deployment: Deployment, service: ScriptedService) -> None:
    job = job_for(service.url, tasks=1)
    service.answer = lambda _: (422, b"no such pipeline here")
    run_job(deployment, job.ref)
    assert Task.objects.get(job_id=job.id).error == ("push service 'box' refuses the batch: 422 no such pipeline here")


def test_an_answer_that_does_not_fit_fails_its_own_task_alone(deployment: Deployment, service: ScriptedService) -> None:
    job = job_for(service.url, tasks=3)

    def spoil_the_second(body: dict[str, Any]) -> tuple[int, Any]:
        status, answer = note_all(body)
        answer["results"][1]["result"] = "what"
        return status, answer

    service.answer = spoil_the_second
    run_job(deployment, job.ref)
    assert set(notes_by_key(job.id)) == {"k0", "k2"}
    assert Task.objects.get(job_id=job.id, key="k1").error == (
        "the result does not fit: the result is not a JSON object"
    )


def test_an_answer_without_results_fails_the_batch(deployment: Deployment, service: ScriptedService) -> None:
    job = job_for(service.url, tasks=2)
    service.answer = lambda _: (200, {})
    run_job(deployment, job.ref)
    assert {task.error for task in Task.objects.filter(job_id=job.id)} == {
        'the answer needs a list "results" of objects with "id" and "result"'
    }


def test_a_cancelled_job_is_pushed_no_further(deployment: Deployment, service: ScriptedService) -> None:
    job = job_for(service.url, tasks=BATCH + 1)
    stops = iter([None, lambda: cancel(deployment, job.id)])

    def cancel_before_the_second_batch() -> None:
        act = next(stops)
        if act:
            act()

    push(deployment, job, cancel_before_the_second_batch)
    assert len(service.asked) == 1
    assert jobs.get(job.id).state is JobState.REVOKED


def test_an_interrupted_push_goes_on_where_it_was(deployment: Deployment, service: ScriptedService) -> None:
    job = job_for(service.url, tasks=BATCH + 2)

    def stop_after_the_first_batch() -> None:
        if service.asked:
            raise DispatchInterruptedError("stop")

    with pytest.raises(DispatchInterruptedError):
        run_job(deployment, job.ref, stop_after_the_first_batch)
    run_job(deployment, job.ref)
    assert [len(keys) for keys in keys_asked(service)] == [BATCH, 2]


def test_without_a_service_the_command_that_adds_one_is_named(deployment: Deployment) -> None:
    job = make_started_job(1, dispatch_mode=DispatchMode.SYNC_API)
    with pytest.raises(PermanentError, match=rf"headcount service add .*--pipeline '{PIPELINE}'"):
        run_job(deployment, job.ref)


def test_without_a_public_address_the_setting_is_named(clock: FrozenClock, service: ScriptedService) -> None:
    deployment = memory_deployment(HEADCOUNT.model_copy(update={"public_url": ""}), clock)
    with pytest.raises(ConfigurationError, match="HEADCOUNT_PUBLIC_URL"):
        run_job(deployment, job_for(service.url, tasks=1).ref)
    assert not service.asked


class PushedNotes(NoteKind):
    """Notes that push services make."""

    dispatch_modes: ClassVar[frozenset[DispatchMode]] = frozenset({DispatchMode.SYNC_API})


def test_a_job_that_the_dispatcher_could_only_give_up_is_not_made(deployment: Deployment) -> None:
    with_public_url = replace(deployment, kinds={"note": PushedNotes()})
    without = replace(with_public_url, settings=HEADCOUNT)
    request = JobRequest(make_project(), "note", pipeline=PIPELINE, config={"tasks": 1})
    with pytest.raises(BadInputError, match="'mistyped' in this project; offered are"):
        submit(with_public_url, replace(request, pipeline="mistyped"))
    with pytest.raises(BadInputError, match=rf"headcount service add .*--pipeline '{PIPELINE}'"):
        submit(with_public_url, request)
    registry.add_push_service(request.project_id, "box", "http://box", [PIPELINE], EPOCH)
    with pytest.raises(BadInputError, match="HEADCOUNT_PUBLIC_URL is not set: set it to"):
        submit(without, request)
    assert not Job.objects.exists()
    assert submit(with_public_url, request).dispatch_mode is DispatchMode.SYNC_API


def test_a_retry_that_the_dispatcher_could_only_give_up_is_not_begun(deployment: Deployment) -> None:
    job = job_for("http://box", tasks=1)
    cancel(deployment, job.id)
    with pytest.raises(BadInputError, match="HEADCOUNT_PUBLIC_URL"):
        retry(replace(deployment, settings=HEADCOUNT), job.id, Redo.UNFINISHED)
    registry.add_push_service(job.project_id, "box", "http://box", ["another"], EPOCH)
    with pytest.raises(BadInputError, match="headcount service add"):
        retry(deployment, job.id, Redo.UNFINISHED)
    assert (jobs.get(job.id).run, jobs.get(job.id).state) == (1, JobState.REVOKED)


def test_the_address_of_a_service_follows_its_latest_registration() -> None:
    project_id = make_project()
    registry.add_push_service(project_id, "box", "http://old", [PIPELINE], EPOCH)
    registry.add_push_service(project_id, "box", "http://new", [PIPELINE], EPOCH)
    assert registry.push_service(project_id, PIPELINE) == registry.PushService("box", "http://new")
    assert registry.push_service(project_id, "another") is None


def test_a_pull_service_is_no_push_service() -> None:
    assert registry.push_service(make_project(), PIPELINE) is None


@pytest.mark.parametrize(
    ("given", "kept"), [("http://box:8100/", "http://box:8100"), (" https://box/a?x=1#y ", "https://box/a")]
)
def test_an_address_is_kept_without_what_does_not_belong(given: str, kept: str) -> None:
    assert service_address(given) == kept


@pytest.mark.parametrize("given", ["box:8100", "ftp://box", "http://", "", "http://[::1"])
def test_an_address_that_is_none_is_refused(given: str) -> None:
    with pytest.raises(BadInputError, match="URL"):
        service_address(given)


def test_a_retry_pushes_what_failed_and_nothing_else(deployment: Deployment, service: ScriptedService) -> None:
    job = job_for(service.url, tasks=4, failure_threshold=0.25)

    def fail_the_odd(body: dict[str, Any]) -> tuple[int, Any]:
        results = [
            {"id": task["id"], "result": {"error": "odd"} if int(task["id"][1:]) % 2 else {"note": "seen"}}
            for task in body["tasks"]
        ]
        return 200, {"results": results}

    service.answer = fail_the_odd
    run_job(deployment, job.ref)
    assert jobs.get(job.id).state is JobState.FAILURE
    service.answer = note_all
    run_job(deployment, retry(deployment, job.id).ref)
    assert keys_asked(service) == [["k0", "k1", "k2", "k3"], ["k1", "k3"]]
    assert [item.status for item in jobs.certificates(job.id)] == [JobState.FAILURE, JobState.SUCCESS]
