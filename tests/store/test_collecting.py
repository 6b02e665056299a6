"""Writing tasks into the ledger, once each, from wherever it was left."""

import pytest
from django.db import IntegrityError, transaction

from headcount.domain.records import TaskCounts, TaskSpec
from headcount.models import Task
from headcount.store import jobs, ledger
from headcount.testing.factories import make_job, specs

pytestmark = pytest.mark.django_db


def keys(job_id: int) -> list[str]:
    return [row.key for row in ledger.stream(job_id)]


def test_tasks_are_written_in_order_and_wait() -> None:
    job = make_job()
    payload = {"nested": {"list": [1, None, True, "é\u2028"]}, "empty": {}}
    assert ledger.collect(job.id, 0, [TaskSpec("a", payload), TaskSpec("b")]) == 2
    rows = list(Task.objects.filter(job_id=job.id).order_by("ordinal").values("ordinal", "key", "payload", "state"))
    assert rows == [
        {"ordinal": 0, "key": "a", "payload": payload, "state": "waiting"},
        {"ordinal": 1, "key": "b", "payload": {}, "state": "waiting"},
    ]
    assert ledger.counts(job.id) == TaskCounts(waiting=2)


@pytest.mark.parametrize("again", [specs(5), [TaskSpec("new"), *specs(1)], [TaskSpec("k0")]])
@pytest.mark.parametrize("start", [0, 4])
def test_an_ordinal_or_a_key_that_is_there_refuses_all_that_came_with_it(start: int, again: list[TaskSpec]) -> None:
    job = make_job()
    assert ledger.collect(job.id, 0, specs(5)) == 5
    before = list(Task.objects.filter(job_id=job.id).order_by("ordinal").values())
    with pytest.raises(IntegrityError), transaction.atomic():
        ledger.collect(job.id, start, again)
    assert ledger.collect(job.id, 5, []) == 0
    assert list(Task.objects.filter(job_id=job.id).order_by("ordinal").values()) == before


@pytest.mark.parametrize(
    "text", ["tab\there", "back\\slash \\N \\t", "line\nfeed\r", '"quoted"', "é\u2028 \U0001f98b", ""]
)
def test_any_text_is_written_as_it_is(text: str) -> None:
    job = make_job()
    ledger.collect(job.id, 0, [TaskSpec(f"k{text}", {text: text})])
    task = Task.objects.get(job_id=job.id)
    assert (task.key, task.payload) == (f"k{text}", {text: text})


def test_collecting_goes_on_behind_what_is_there() -> None:
    job = make_job()
    all_specs = specs(7)
    ledger.collect(job.id, 0, all_specs[:3])
    assert ledger.size(job.id) == 3
    assert ledger.known_keys(job.id, ["k1", "k2", "k3", "zzz"]) == {"k1", "k2"}
    assert ledger.collect(job.id, ledger.size(job.id), all_specs[3:]) == 4
    assert keys(job.id) == [f"k{number}" for number in range(7)]
    assert ledger.size(job.id) == 7


def test_a_key_twice_is_refused_whole() -> None:
    job = make_job()
    with pytest.raises(IntegrityError), transaction.atomic():
        ledger.collect(job.id, 0, [TaskSpec("a"), TaskSpec("b"), TaskSpec("a")])
    assert ledger.size(job.id) == 0


def test_jobs_do_not_share_tasks() -> None:
    one, other = make_job(), make_job()
    ledger.collect(one.id, 0, specs(2))
    assert ledger.size(other.id) == 0
    assert ledger.known_keys(other.id, ["k0"]) == set()
    assert ledger.collect(other.id, 0, specs(2)) == 2


def test_the_first_total_stays() -> None:
    job = make_job()
    jobs.set_task_total(job.id, job.run + 1, 9)
    assert jobs.get(job.id).task_total is None
    jobs.set_task_total(job.id, job.run, 5)
    jobs.set_task_total(job.id, job.run, 7)
    assert jobs.get(job.id).task_total == 5


@pytest.mark.parametrize("number", [0, 1, 4001])
def test_a_job_of_any_size_is_read_back_whole(number: int) -> None:
    job = make_job()
    ledger.collect(job.id, 0, specs(number))
    assert ledger.size(job.id) == ledger.counts(job.id).total == number
    assert [row.ordinal for row in ledger.stream(job.id)] == list(range(number))
    assert ledger.open_ordinals(job.id) == list(range(number))
