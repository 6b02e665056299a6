"""What a flow is handed: the engines of this deployment, its kinds, its clock and its settings."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property

from headcount.clock import Clock, Throttle
from headcount.conf import Settings
from headcount.domain.lease_token import signing_key
from headcount.errors import BadInputError
from headcount.locks import KeyedLocks
from headcount.ports.dispatcher import Dispatcher
from headcount.ports.job_kind import JobKind
from headcount.ports.state_manager import AsyncJobStateManager
from headcount.ports.task_queue import TaskQueue


@dataclass(frozen=True)
class Throttles:
    """What one process does at most so often: writes that inform people, and sweeps that any process may do."""

    progress: Throttle = field(default_factory=lambda: Throttle(timedelta(milliseconds=500)))
    worker_seen: Throttle = field(default_factory=lambda: Throttle(timedelta(seconds=10)))
    reclaim: Throttle = field(default_factory=lambda: Throttle(timedelta(seconds=1)))


@dataclass(frozen=True)
class Deployment:
    """The engines behind the ports, chosen once by the settings."""

    queue: TaskQueue
    state: AsyncJobStateManager
    dispatcher: Dispatcher
    kinds: Mapping[str, JobKind]
    clock: Clock
    settings: Settings
    throttles: Throttles = field(default_factory=Throttles)
    rebuilding: KeyedLocks = field(default_factory=KeyedLocks)

    @cached_property
    def lease_key(self) -> bytes:
        """The key that signs lease tokens."""
        return signing_key(self.settings.effective_secret_key)

    def kind(self, name: str) -> JobKind:
        """Return a job kind by name.

        Raises:
            BadInputError: no such kind is installed; the message lists those that are.
        """
        if name not in self.kinds:
            raise BadInputError(f"no job kind {name!r} is installed; there are {', '.join(sorted(self.kinds))}")
        return self.kinds[name]
