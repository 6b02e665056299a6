"""What can be found out about the Redis behind a state manager: for diagnosis and checks, never on the hot path."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import islice
from typing import Any

from redis import Redis, RedisError

from headcount.clock import system_clock
from headcount.domain.records import JobRef
from headcount.engines.redis.connection import TIMEOUT_SECONDS, answering, connect, database_index
from headcount.engines.redis.keys import KeyNames
from headcount.ports.holdings import HeldRun, Holdings

_DATABASE_INDEXES = range(16)
_RUNS_TO_EITHER_SIDE = 20
_KEYS_OF_ONE_SCAN = 1000


@dataclass(frozen=True, slots=True)
class MemoryPolicy:
    """What Redis does when its memory is full; ``limit_bytes`` is 0 where it has no limit."""

    name: str
    limit_bytes: int

    @property
    def may_evict_state(self) -> bool:
        """Whether it may drop keys that carry no expiry, as those of the state manager carry none."""
        return self.name.startswith("allkeys-")


@dataclass(frozen=True, slots=True)
class IndexContents:
    """What one database index holds of a deployment.

    Attributes:
        index: the number of the database.
        identity: of the deployment that uses it under this deployment's name, or None where none does.
        holds_run: whether any key of the run that was asked for is there.
    """

    index: int
    identity: str | None
    holds_run: bool


class RedisInspection:
    """Looks at a Redis as one deployment uses it.

    Every method raises ``EngineUnavailableError`` when Redis does not answer.
    """

    def __init__(self, url: str, names: KeyNames, identity: str, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self._connect = partial(connect, url, timeout_seconds)
        self._client = self._connect()
        self._names = names
        self._identity = identity

    @property
    def index(self) -> int:
        """The database index this deployment is told to use."""
        return database_index(self._client)

    def memory_policy(self) -> MemoryPolicy:
        """Return what Redis does when its memory is full; INFO tells it where CONFIG is locked away."""
        with answering():
            memory = self._client.info("memory")
        return MemoryPolicy(str(memory["maxmemory_policy"]), int(memory["maxmemory"]))

    def runs(self) -> Iterator[JobRef]:
        """Yield every run that has a key here, whole or not; one that comes or goes meanwhile may be missed."""
        yield from (held.job for held in self.holdings().runs)

    def holdings(self) -> Holdings:
        """Return every run that has a key here, with when the key was last used, and the keys that are of no run.

        Redis does not tell when a key was last used where its memory policy goes by how often keys are.
        """
        keys: dict[JobRef, str] = {}
        unreadable = set()
        with answering():
            for name in map(_text, self._client.scan_iter(match=self._names.pattern, count=_KEYS_OF_ONE_SCAN)):
                run = self._names.run_of(name)
                if run is not None:
                    keys.setdefault(run, name)
                elif name != self._names.identity:
                    unreadable.add(name)
            last_used = self._last_used([keys[run] for run in sorted(keys)])
        runs = map(HeldRun, sorted(keys), last_used)
        return Holdings(tuple(runs), tuple(sorted(unreadable)))

    def indexes(self, job: JobRef) -> tuple[IndexContents, ...]:
        """Return the database indexes that hold anything under this deployment's name, in one round trip."""
        # On a client of its own: a connection that has another index selected must never reach the shared pool.
        with answering(), self._connect() as lone:
            pipeline = lone.pipeline(transaction=False)
            for index in _DATABASE_INDEXES:
                pipeline.select(index)
                pipeline.get(self._names.identity)
                pipeline.exists(*self._names.of_run(job))
            answers = pipeline.execute(raise_on_error=False)
        found = (_contents(index, *answers[3 * index : 3 * index + 3]) for index in _DATABASE_INDEXES)
        return tuple(contents for contents in found if contents is not None)

    def why_absent(self, jobs: Sequence[JobRef]) -> Mapping[JobRef, str]:
        """Say of each run in a sentence why there may be no state of it, in one round trip."""
        neighbours = [neighbour for job in jobs for neighbour in _neighbours(job, _RUNS_TO_EITHER_SIDE // len(jobs))]
        with answering():
            pipeline = self._client.pipeline(transaction=False)
            pipeline.get(self._names.identity)
            for neighbour in neighbours:
                pipeline.exists(*self._names.of_run(neighbour))
            identity, *existing = pipeline.execute()
        others = [neighbour for neighbour, keys in zip(neighbours, existing, strict=True) if keys]
        return {job: _absence(job, others) + self._doubt(identity) for job in jobs}

    def elsewhere(self, jobs: Sequence[JobRef]) -> Mapping[JobRef, int]:
        """Return the other database index that holds a run, of those that do, in two round trips."""
        # On a client of its own: a connection that has another index selected must never reach the shared pool.
        with answering(), self._connect() as lone:
            others = [index for index in _DATABASE_INDEXES if index != self.index]
            identities = _asked_of_each(lone, others, [("GET", self._names.identity)])
            ours = [index for index in others if _is_ours(identities[index], self._identity)]
            held = _asked_of_each(lone, ours, [("EXISTS", *self._names.of_run(job)) for job in jobs])
        return {job: index for index in ours for job, keys in zip(jobs, held[index], strict=True) if keys}

    def _last_used(self, keys: Sequence[str]) -> list[datetime | None]:
        now, found = system_clock(), []
        for start in range(0, len(keys), _KEYS_OF_ONE_SCAN):
            pipeline = self._client.pipeline(transaction=False)
            for key in keys[start : start + _KEYS_OF_ONE_SCAN]:
                pipeline.object("idletime", key)
            found += pipeline.execute(raise_on_error=False)
        return [now - timedelta(seconds=idle) if isinstance(idle, int) else None for idle in found]

    def _doubt(self, identity: bytes | None) -> str:
        if identity is None:
            return f"; its database index {self.index} was never used by this deployment or was flushed"
        if _text(identity) != self._identity:
            return f"; its database index {self.index} is used by another deployment of the same name"
        return ""


def _asked_of_each(lone: Redis, indexes: Sequence[int], commands: Sequence[Sequence[str]]) -> dict[int, list[Any]]:
    """A server may have fewer databases; what follows a refused SELECT is about the database before it, and dropped."""
    pipeline: Any = lone.pipeline(transaction=False)
    for index in indexes:
        pipeline.select(index)
        for command in commands:
            pipeline.execute_command(*command)
    answers = iter(pipeline.execute(raise_on_error=False))
    found = {}
    for index in indexes:
        selected, *rest = islice(answers, 1 + len(commands))
        found[index] = [None if isinstance(selected, RedisError) else answer for answer in rest]
    return found


def _is_ours(answers: Sequence[object], identity: str) -> bool:
    return answers == [identity.encode()]


def _neighbours(job: JobRef, to_either_side: int) -> list[JobRef]:
    first = max(1, job.run - max(1, to_either_side))
    runs = range(first, job.run + max(1, to_either_side) + 1)
    return [JobRef(job.job_id, run) for run in runs if run != job.run]


def _absence(job: JobRef, others: Sequence[JobRef]) -> str:
    runs = [str(other.run) for other in others if other.job_id == job.job_id]
    instead = f", but one of run {' and '.join(runs)}" if runs else ""
    return f"Redis has no state of job {job.job_id}, run {job.run}{instead}"


def _contents(index: int, selected: object, identity: object, keys: object) -> IndexContents | None:
    """A server may have fewer databases; what follows a refused SELECT is about the database before it."""
    if isinstance(selected, RedisError) or not isinstance(keys, int):
        return None
    known = _text(identity) if isinstance(identity, bytes) else None
    return IndexContents(index, known, keys > 0) if known or keys else None


def _text(value: bytes) -> str:
    return value.decode(errors="replace")
