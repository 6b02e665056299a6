"""How many SQL statements a request takes: a number that grows neither with the batch nor with the job."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from tests.flow import given

pytestmark = pytest.mark.django_db(transaction=True)

MOST_FOR_A_POST = 16
MOST_FOR_A_CLAIM = 8


def good(task):
    return {"reply_subject": task["reply_subject"], "result": given.output(task["image_id"], detections=3)}


def statements(act):
    with CaptureQueriesContext(connection) as captured:
        act()
    return [query["sql"].split()[0] for query in captured.captured_queries]


def of_a_post(deployment, caller, project_id, *, tasks, batch):
    """The statements of a post that is neither a job's first nor its last."""
    job = given.dispatched(deployment, tasks, project_id)
    first, *rest = caller.claim(job.id, batch + 1)
    caller.post_results(job.id, [good(first)])
    results = [good(task) for task in rest]
    return statements(lambda: caller.post_results(job.id, results))


def of_a_claim(deployment, caller, project_id, *, tasks, batch):
    job = given.dispatched(deployment, tasks, project_id)
    caller.claim(job.id, 1)
    return statements(lambda: caller.claim(job.id, batch))


def test_a_posted_batch_takes_as_many_statements_whatever_its_size(deployment, caller, project_id):
    taken = {size: of_a_post(deployment, caller, project_id, tasks=210, batch=size) for size in (1, 10, 50, 200)}
    assert taken[1] == taken[10] == taken[50] == taken[200]
    assert len(taken[1]) <= MOST_FOR_A_POST, taken[1]


def test_a_posted_batch_takes_as_many_statements_whatever_the_size_of_its_job(deployment, caller, project_id):
    small = of_a_post(deployment, caller, project_id, tasks=10, batch=5)
    large = of_a_post(deployment, caller, project_id, tasks=1000, batch=5)
    assert small == large


def test_a_claim_takes_as_many_statements_whatever_its_size_and_that_of_its_job(deployment, caller, project_id):
    small = of_a_claim(deployment, caller, project_id, tasks=10, batch=1)
    large = of_a_claim(deployment, caller, project_id, tasks=1000, batch=200)
    assert small == large
    assert len(small) <= MOST_FOR_A_CLAIM, small


def test_a_batch_of_duplicates_takes_as_many_statements_whatever_its_size(deployment, caller, project_id):
    job = given.dispatched(deployment, 210, project_id)
    results = [good(task) for task in caller.claim(job.id, 201)]
    caller.post_results(job.id, results)
    one = statements(lambda: caller.post_results(job.id, results[:1]))
    many = statements(lambda: caller.post_results(job.id, results))
    assert one == many
