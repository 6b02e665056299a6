"""What the threads of one worker have in common."""

from dataclasses import dataclass

from headcount_worker.backoff import Backoff
from headcount_worker.client import HeadcountClient
from headcount_worker.clock import Clock
from headcount_worker.lease_book import LeaseBook
from headcount_worker.outbox import Outbox
from headcount_worker.settings import WorkerSettings
from headcount_worker.stopping import Stopping


@dataclass(frozen=True)
class Shared:
    """The server, the leases, the unposted results, the time, and the sign to stop. All are safe between threads."""

    settings: WorkerSettings
    client: HeadcountClient
    stopping: Stopping
    clock: Clock
    backoff: Backoff
    book: LeaseBook
    outbox: Outbox

    @classmethod
    def around(
        cls, settings: WorkerSettings, client: HeadcountClient, stopping: Stopping, clock: Clock, backoff: Backoff
    ) -> "Shared":
        """Bring them together, with no lease held and nothing to post."""
        return cls(settings, client, stopping, clock, backoff, LeaseBook(clock), Outbox(settings.unposted_limit))
