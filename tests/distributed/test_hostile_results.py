"""Results that come twice, name what nobody was given, or carry words for the broker."""

import base64
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import pytest

from tests.distributed import nats_admin
from tests.distributed.clients import Task, all_at_once, failure, statuses, success
from tests.distributed.evidence import counted
from tests.distributed.live import Live
from tests.flow.given import output

pytestmark = [pytest.mark.process, pytest.mark.timeout(240), pytest.mark.xdist_group("a running deployment")]

TASKS = 60
AT_ONCE = 6


def test_the_same_results_posted_at_once_leave_rows_that_no_later_post_touches(running: Live) -> None:
    job_id = running.submit_published(TASKS)
    tasks = running.api.claim(job_id, TASKS)
    results = [success(task) for task in tasks]
    posted = all_at_once(*[partial(running.api.post_results, job_id, results)] * AT_ONCE)
    for number in range(TASKS):
        assert statuses(answers[number] for answers in posted) == {"saved": 1, "duplicate": AT_ONCE - 1}
    assert running.api.status(job_id) == "SUCCESS"
    rows = running.evidence.dump()
    other = [{**result, "result": output(task["image_id"], 5)} for result, task in zip(results, tasks, strict=True)]
    for answers in all_at_once(*[partial(running.api.post_results, job_id, results + other)] * AT_ONCE):
        assert statuses(answers) == {"duplicate": 2 * TASKS}
    assert running.evidence.dump() == rows
    running.evidence.assert_exact(job_id, saved=TASKS)


def test_errors_for_unknown_images_are_rejected_by_name_and_count_nothing(running: Live) -> None:
    job_id = running.submit_published(TASKS)
    tasks = running.api.claim(job_id, TASKS)
    for number in range(3):
        unknown = [failure(task, f"no-such-image-{number}") for task in tasks]
        answers = running.api.post_results(job_id, unknown)
        assert statuses(answers) == {"rejected": TASKS}
        assert all(f"no-such-image-{number}" in answer["reason"] for answer in answers)
    assert running.evidence.ledger(job_id) == {"leased": TASKS}
    assert running.evidence.state(job_id) == counted(TASKS, 0)
    swapped = [failure(task, other["image_id"]) for task, other in pairwise(tasks)]
    assert statuses(running.api.post_results(job_id, swapped)) == {"rejected": TASKS - 1}
    assert running.evidence.ledger(job_id) == {"leased": TASKS}
    assert statuses(running.api.post_results(job_id, [success(task) for task in tasks])) == {"saved": TASKS}
    running.evidence.assert_exact(job_id, saved=TASKS)


def test_invented_reply_subjects_are_refused_and_reach_no_subject(running: Live) -> None:
    other_id, job_id = running.submit_published(TASKS), running.submit_published(TASKS)
    theirs, ours = running.api.claim(other_id, 5), running.api.claim(job_id, 5)
    invented = inventions(running, ours)
    before = nats_admin.messages(running.site), running.evidence.depth(job_id), running.evidence.depth(other_id)
    with nats_admin.overheard(running.site) as subjects:
        for subject in invented:
            refused(running, job_id, subject, ours[0])
        refused_by_leases(running, invented)
        foreign = [{**success(ours[0]), "reply_subject": task["reply_subject"]} for task in theirs]
        answers = running.api.post_results(job_id, foreign)
        assert statuses(answers) == {"rejected": len(theirs)}
        assert all(f"of job {other_id}" in answer["reason"] for answer in answers)
    assert before == (
        nats_admin.messages(running.site),
        running.evidence.depth(job_id),
        running.evidence.depth(other_id),
    )
    assert running.evidence.ledger(job_id) == running.evidence.ledger(other_id) == {"leased": 5, "waiting": TASKS - 5}
    assert not [subject for subject in subjects if is_of_client(subject, invented)]
    finish(running, job_id, ours)
    finish(running, other_id, theirs)


def inventions(running: Live, tasks: Sequence[Task]) -> list[str]:
    """Subjects that the broker would obey, and tokens that were not issued."""
    stream = nats_admin.stream_of(running.site)
    consumer = nats_admin.consumers(running.site)[0]
    token = tasks[0]["reply_subject"]
    raw = bytearray(base64.urlsafe_b64decode(token))
    raw[12] ^= 1
    return [
        f"$JS.API.STREAM.DELETE.{stream}",
        f"$JS.API.STREAM.PURGE.{stream}",
        f"$JS.API.CONSUMER.DELETE.{stream}.{consumer}",
        f"$JS.ACK.{stream}.{consumer}.1.1.1.0.0",
        f"$JS.ACK.{stream}.{consumer}.1.1.1.0.0 +ACK",
        f"{running.site.name}.tasks.1.1",
        "+ACK",
        "-NAK",
        "+TERM",
        "_INBOX.>",
        "",
        token + "=",
        token[:-1],
        token.replace("-", "+").replace("_", "/") + "\n",
        base64.urlsafe_b64encode(bytes(raw)).decode(),
    ]


def refused(running: Live, job_id: int, subject: str, task: Task) -> None:
    """Neither a success nor an error nor nothing at all is accepted under the subject."""
    bodies: list[Any] = [success(task)["result"], failure(task)["result"], None, "+ACK"]
    answers = running.api.post_results(job_id, [{"reply_subject": subject, "result": body} for body in bodies])
    assert statuses(answers) == {"rejected": len(bodies)}, subject
    assert {answer["reply_subject"] for answer in answers} == {subject}


def refused_by_leases(running: Live, invented: Sequence[str]) -> None:
    for verb in ("extend", "release"):
        answers = running.api.post(f"tasks/{verb}", {"leases": list(invented)})["leases"]
        assert statuses(answers) == {"rejected": len(invented)}


def is_of_client(subject: str, invented: Sequence[str]) -> bool:
    return subject in {text for text in invented if text} or ".DELETE." in subject or ".PURGE." in subject


def finish(running: Live, job_id: int, tasks: Sequence[Task]) -> None:
    """What was refused did no harm: the tasks' own tokens still end the job."""
    rest = running.api.claim(job_id, TASKS - len(tasks))
    running.api.post_results(job_id, [success(task) for task in [*tasks, *rest]])
    running.evidence.assert_exact(job_id, saved=TASKS)
