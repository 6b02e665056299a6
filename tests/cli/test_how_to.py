"""The commands of the how-to on retrying and cancelling do what the page says."""

import re
import shlex
from pathlib import Path

import pytest

from headcount.flow.run_job import run_job
from headcount.store import jobs
from tests.flow import given
from tests.flow.given import claimed, dispatched, failure, posted

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "retry-and-cancel.md"
CANCEL, RETRY, SUBMIT = re.findall(r"^```console\nheadcount (.*)\n```", PAGE.read_text(encoding="utf-8"), re.MULTILINE)


@pytest.fixture
def follow(headcount_in_process):
    """Type a command of the page, about the job at hand instead of job 7; returns the job it was about."""

    def type_in(command, job_id=None):
        words = [str(job_id) if word == "7" else word for word in shlex.split(command)]
        said = headcount_in_process(*words, "--json")
        assert said.code == 0, said.err
        return jobs.get(said.json["id"])

    return type_in


def test_a_job_is_cancelled_as_the_page_says(follow, deployment, project_id):
    assert follow(CANCEL, dispatched(deployment, 2, project_id).id).status == "REVOKED"


def test_a_job_is_retried_as_the_page_says(follow, deployment, project_id):
    job = dispatched(deployment, 1, project_id)
    posted(deployment, job, [failure(task) for task in claimed(deployment, job)])
    assert follow(RETRY, job.id).run == 2


def test_a_job_fails_fast_as_the_page_says(follow, deployment, project_id):
    given.collection(project_id, 10, "night-1")
    job = follow(SUBMIT.replace("light-sheet-blobs", given.SLUG))
    run_job(deployment, job.ref)
    tasks = claimed(deployment, job)
    posted(deployment, job, [failure(tasks[0])])
    assert jobs.get(job.id).status == "STARTED", "exactly one of ten may fail"
    posted(deployment, job, [failure(tasks[1])])
    assert jobs.get(job.id).status == "FAILURE"
