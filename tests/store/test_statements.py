"""What travels into a statement is what comes back, or it is refused at once."""

import pytest
from django.db import transaction

from headcount.domain.records import Outcome, TaskCounts, TaskSpec
from headcount.models import Task
from headcount.statements import as_json
from headcount.store import ledger
from headcount.testing.factories import EPOCH, make_job, make_started_job

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_numbers_that_json_does_not_have_are_refused(number: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        as_json([{"deep": [number]}])


def test_half_a_surrogate_pair_is_refused_before_it_makes_rows_unreadable() -> None:
    job = make_started_job(1)
    with pytest.raises(UnicodeEncodeError), transaction.atomic():
        ledger.account(job.id, [Outcome(0, None, error="a \ud800 b")], EPOCH)
    assert ledger.counts(job.id) == TaskCounts(waiting=1)
    assert ledger.rows(job.id, [0])[0].error is None


def test_any_other_text_comes_back() -> None:
    job = make_job()
    text = "é \u2028 \U0001f41b ' \" \\ % %s %(x)s $[0] \t\n"
    ledger.collect(job.id, 0, [TaskSpec(text, {text: [text, 1.5, 2**53, None, True]})])
    task = Task.objects.get(job_id=job.id)
    assert (task.key, task.payload) == (text, {text: [text, 1.5, 2**53, None, True]})
    assert ledger.known_keys(job.id, [text]) == {text}
