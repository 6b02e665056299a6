"""The dispatcher on Celery: accepts runs, sends them to workers, testifies from its own table."""

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta

from headcount.clock import Clock
from headcount.conf import Settings
from headcount.domain.records import JobRef
from headcount.domain.states import DispatchMode
from headcount.engines.celery import rows
from headcount.engines.celery.application import celery_app, queue_of_mode
from headcount.engines.celery.publisher import Publisher
from headcount.engines.celery.rows import Message
from headcount.ports.dispatcher import DispatchTestimony, Note, nothing_to_note

_LEASES_UNTIL_LOST = 3
"""A message that nobody began this many leases after it was due is sent again; the older one is void then."""


def build_dispatcher(settings: Settings, clock: Clock, mode_of: Callable[[JobRef], DispatchMode]) -> "CeleryDispatcher":
    """Return the dispatcher that settings describe; ``mode_of`` tells the dispatch mode of a run."""
    app = celery_app(settings, fixups=(), is_current=False)
    return CeleryDispatcher(settings, clock, mode_of, Publisher(app))


class CeleryDispatcher:
    """Sends runs to Celery workers.

    The broker delivers at least once; the table makes of it one run at a time, and knows how a run stands when the
    broker has forgotten it.
    """

    name = "celery"
    in_database = True

    def __init__(
        self, settings: Settings, clock: Clock, mode_of: Callable[[JobRef], DispatchMode], publisher: Publisher
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._mode_of = mode_of
        self._publisher = publisher

    @property
    def broker(self) -> str:
        """The broker's address."""
        return self._publisher.broker

    def enqueue(self, job: JobRef) -> None:
        """Note the run and send its message, unless that was done before."""
        rows.enter(job, self._clock())
        self._publish_waiting(job)

    def resume(self, job: JobRef, note: Note = nothing_to_note) -> bool:
        """Send another message for a run whose dispatch ended or died, or whose message was lost."""
        now = self._clock()
        with rows.writing():
            entered = rows.enter(job, now)
            revived = rows.revive(job, now, lost_before=now - _LEASES_UNTIL_LOST * self._settings.dispatch_lease)
            if entered or revived:
                note()
        self._publish_waiting(job)
        return entered or revived

    def testimony(self, job: JobRef) -> DispatchTestimony | None:
        """Return the table's word, which is there whatever becomes of the broker."""
        return rows.testimony(job)

    def testimonies(self, jobs: Sequence[JobRef]) -> Mapping[JobRef, DispatchTestimony | None]:
        """Return the table's word of each run, in one statement."""
        return rows.testimonies(jobs)

    def reach_broker(self) -> None:
        """Ask the broker whether it is there."""
        self._publisher.reach()

    def send_again(self, message: Message, delay: timedelta) -> None:
        """Send the same message once more, to be taken up after ``delay``."""
        self._publisher.publish(message, self._task_id(message), delay)

    def _publish_waiting(self, job: JobRef) -> None:
        generation = rows.unpublished_generation(job)
        if generation is None:
            return
        message = Message(job, generation, queue_of_mode(self._settings, self._mode_of(job)))
        self.send_again(message, timedelta(0))
        rows.note_published(message, self._clock())

    def _task_id(self, message: Message) -> str:
        name = f"{self._settings.deployment_name}-run-{message.job.job_id}-{message.job.run}"
        return f"{name}-{message.generation}" if message.generation else name
