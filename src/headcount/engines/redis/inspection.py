"""What can be found out about the Redis behind a state manager: for diagnosis and checks, never on the hot path."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from redis import RedisError

from headcount.domain.records import JobRef
from headcount.engines.redis.connection import TIMEOUT_SECONDS, answering, connect, database_index
from headcount.engines.redis.keys import KeyNames

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
        seen = set()
        with answering():
            for key in self._client.scan_iter(match=self._names.pattern, count=_KEYS_OF_ONE_SCAN):
                run = self._names.run_of(_text(key))
                if run is not None and run not in seen:
                    seen.add(run)
                    yield run

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

    def why_absent(self, job: JobRef) -> str:
        """Say in a sentence why there may be no state of a run, in one round trip."""
        neighbours = _neighbours(job)
        with answering():
            pipeline = self._client.pipeline(transaction=False)
            pipeline.get(self._names.identity)
            for neighbour in neighbours:
                pipeline.exists(*self._names.of_run(neighbour))
            identity, *existing = pipeline.execute()
        others = [str(neighbour.run) for neighbour, keys in zip(neighbours, existing, strict=True) if keys]
        instead = f", but one of run {' and '.join(others)}" if others else ""
        return f"Redis has no state of job {job.job_id}, run {job.run}{instead}{self._doubt(identity)}"

    def _doubt(self, identity: bytes | None) -> str:
        if identity is None:
            return f"; its database index {self.index} was never used by this deployment or was flushed"
        if _text(identity) != self._identity:
            return f"; its database index {self.index} is used by another deployment of the same name"
        return ""


def _neighbours(job: JobRef) -> list[JobRef]:
    first = max(1, job.run - _RUNS_TO_EITHER_SIDE)
    runs = range(first, job.run + _RUNS_TO_EITHER_SIDE + 1)
    return [JobRef(job.job_id, run) for run in runs if run != job.run]


def _contents(index: int, selected: object, identity: object, keys: object) -> IndexContents | None:
    """A server may have fewer databases; what follows a refused SELECT is about the database before it."""
    if isinstance(selected, RedisError) or not isinstance(keys, int):
        return None
    known = _text(identity) if isinstance(identity, bytes) else None
    return IndexContents(index, known, keys > 0) if known or keys else None


def _text(value: bytes) -> str:
    return value.decode(errors="replace")
