"""Lost: fail tasks that were handed out as often as the policy allows and never came back."""

from collections.abc import Callable, Sequence
from datetime import datetime

from headcount.domain.records import Event, JobRecord
from headcount.flow.account import bring_level
from headcount.ports.deployment import Deployment
from headcount.statements import write_transaction
from headcount.store import events, ledger

LostNote = Callable[[int], Event]
"""What the one who fails tasks has to say of it, given how many; written in the transaction that fails them."""


def fail_spent(
    deployment: Deployment,
    job: JobRecord,
    ordinals: Sequence[int],
    *,
    held_until: datetime,
    note: LostNote | None = None,
) -> int:
    """Fail those of the tasks whose attempts are spent and whose lease ends before ``held_until``; returns how many."""
    now = deployment.clock()
    with write_transaction():
        failed = ledger.fail_spent(
            job.id,
            ordinals,
            max_attempts=deployment.settings.max_attempts,
            held_until=held_until,
            latest=now + deployment.settings.longest_lease,
            now=now,
        )
        if failed:
            keys = [task.key for task in failed]
            message = f"{len(failed)} tasks were handed out too often without a result and are failed"
            events.append(job.ref, Event("tasks.lost", message, "warning", {"keys": keys[:100]}), now)
            if note is not None:
                events.append(job.ref, note(len(failed)), now)
    bring_level(deployment, job, failed, {})
    return len(failed)
