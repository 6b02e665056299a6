"""Tasks that were handed out as often as the policy allows and never came back: fail them as lost."""

from headcount.domain.records import Event
from headcount.flow.lost import fail_spent
from headcount.health.finding import Finding
from headcount.health.observation import Observation
from headcount.health.repairs.ground import event_of, still_running
from headcount.ports.deployment import Deployment
from headcount.store import ledger


def repair(deployment: Deployment, observation: Observation, finding: Finding) -> bool:
    """Fail those that are spent and that no lease covers, in one statement; the verdict follows with the last one."""

    def note(failed: int) -> Event:
        return event_of(finding, f"{failed} tasks are failed as lost.", failed=failed)

    job = still_running(observation)
    if job is None:
        return False
    now = deployment.clock()
    settings = deployment.settings
    ordinals = ledger.spent_ordinals(job.id, settings.max_attempts, now, now + settings.longest_lease)
    return bool(ordinals) and fail_spent(deployment, job, ordinals, held_until=now, note=note) > 0
