"""Tasks that were handed out as often as the policy allows and never came back: fail them as lost."""

from headcount.flow.lost import fail_spent
from headcount.health.finding import Finding
from headcount.health.observation import Observation
from headcount.health.repairs.ground import still_running, tell
from headcount.ports.deployment import Deployment
from headcount.store import ledger


def repair(deployment: Deployment, observation: Observation, finding: Finding) -> bool:
    """Fail those that are spent and that no lease covers, in one statement; the verdict follows with the last one."""
    job = still_running(observation)
    if job is None:
        return False
    now = deployment.clock()
    settings = deployment.settings
    ordinals = ledger.spent_ordinals(job.id, settings.max_attempts, now, now + settings.longest_lease)
    failed = fail_spent(deployment, job, ordinals, held_until=now) if ordinals else 0
    if not failed:
        return False
    return tell(deployment, observation, finding, f"{failed} tasks are failed as lost.", failed=failed)
