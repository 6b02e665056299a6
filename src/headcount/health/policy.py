"""From settings to the policy of the health loop: the one place that says which setting is which patience."""

from headcount.conf import Settings
from headcount.health.finding import Policy


def policy_of(settings: Settings) -> Policy:
    """Return how patient a deployment is."""
    return Policy(
        stalled_after=settings.stalled_after,
        revoke_without_workers_after=settings.revoke_without_workers_after,
        dispatch_lease=settings.dispatch_lease,
        max_attempts=settings.max_attempts,
        dispatch_attempts=settings.dispatch_attempts,
        health_interval=settings.health_interval,
        ack_wait=settings.ack_wait,
        zombie_safety_age=settings.zombie_safety_age,
    )
