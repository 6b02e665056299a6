"""Repairs race each other with no turn between them: what each rests on is its own conditional UPDATE.

On PostgreSQL they really meet in the statements; on SQLite writers take turns.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import pytest

from headcount.clock import system_clock
from headcount.domain.records import JobRecord
from headcount.health.apply import REPAIRS
from headcount.health.audit import audit
from headcount.health.finding import Remedy
from headcount.health.repairs.ground import event_name
from headcount.models import JobEvent, Task
from headcount.store import jobs
from headcount.wiring import build
from tests.flow.threads import at_once
from tests.health.damage import DAMAGE
from tests.settings import HEADCOUNT

pytestmark = pytest.mark.django_db(transaction=True)

LOOPS = 8


@dataclass(frozen=True)
class Case:
    """What a race must come to: which events it leaves, besides that of the repair, and what the audit says then.

    Attributes:
        events: of what the repair changes, each once.
        certificates: how many verdicts there are then.
        is_idempotent: the repair is a call of an engine that may be made again, and is told of as often as it is made.
        offences: what the audit has to say.
    """

    events: frozenset[str] = frozenset()
    certificates: int = 0
    is_idempotent: bool = False
    offences: tuple[str, ...] = ()


ENDED = frozenset({"job.finished"})
CASES: Mapping[Remedy, Case] = {
    Remedy.FINALISE: Case(ENDED, certificates=1),
    Remedy.FINISH_CANCEL: Case(ENDED | {"tasks.cancelled"}, certificates=1),
    Remedy.LEVEL_PROGRESS: Case(),
    Remedy.REBUILD_STATE: Case(is_idempotent=True),
    Remedy.REPUBLISH: Case(is_idempotent=True),
    Remedy.FAIL_SPENT: Case(frozenset({"tasks.lost"})),
    Remedy.RESUME_DISPATCH: Case(),
    Remedy.FOLLOW_DISPATCHER: Case(ENDED, certificates=1),
    Remedy.FOLLOW_PROGRESS: Case(ENDED, certificates=1, offences=("the job has 3 tasks but the ledger holds 0",)),
    Remedy.REVOKE: Case(ENDED, certificates=1),
    Remedy.CLEAN_UP: Case(certificates=1),
}
"""One for each remedy: a new one without a case fails here."""


def told(job: JobRecord) -> Counter[str]:
    return Counter(JobEvent.objects.filter(job_id=job.id).values_list("name", flat=True))


def attempts(job: JobRecord) -> list[int]:
    return list(Task.objects.filter(job_id=job.id).order_by("ordinal").values_list("attempts", flat=True))


@pytest.mark.parametrize("remedy", REPAIRS)
def test_of_repairs_at_the_same_moment_one_has_an_effect(remedy: Remedy) -> None:
    case, repair = CASES[remedy], REPAIRS[remedy]
    deployment = build(HEADCOUNT, system_clock)
    damaged = DAMAGE[remedy](deployment)
    log_before, attempts_before = told(damaged.job), attempts(damaged.job)
    loops = [build(HEADCOUNT, system_clock) for _ in range(LOOPS)]
    said = at_once([lambda loop=loop: repair(loop, damaged.observation, damaged.finding) for loop in loops])
    did = said.count(True)
    assert did >= 1
    assert did == 1 or case.is_idempotent
    assert told(damaged.job) - log_before == Counter({event_name(remedy): did, **dict.fromkeys(case.events, 1)})
    assert attempts(damaged.job) == attempts_before
    assert len(jobs.certificates(damaged.job.id)) == case.certificates
    assert audit(deployment, damaged.job.id).offences == case.offences
    damaged.repaired()
