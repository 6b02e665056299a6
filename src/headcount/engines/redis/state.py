"""The state manager on Redis: bitmaps of what is done, one atomic round trip for each batch."""

import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from redis import RedisError

from headcount.domain.records import JobRef, StageProgress
from headcount.domain.states import STATE_MANAGER_STAGES, Stage
from headcount.engines.redis import scripts
from headcount.engines.redis.connection import TIMEOUT_SECONDS, answering, connect
from headcount.engines.redis.inspection import RedisInspection
from headcount.engines.redis.keys import KeyNames
from headcount.engines.redis.marks import StageBits, bits_of, ordinals_of
from headcount.errors import EngineUnavailableError
from headcount.ports.holdings import Holdings
from headcount.ports.state_manager import Mark, Silence, Snapshot, Unknown

_INITIALISE = scripts.load("initialise")
_ACCOUNT = scripts.load("account")
_BEFORE_REBUILD = scripts.load("before_rebuild")
_REBUILD = scripts.load("rebuild")

_NONCE_BYTES = 8
_NOTHING_BEFORE = (b"", b"", b"")
_ABSENT = [b"absent"]


class RedisStateManager:
    """Keeps a record and four bitmaps for each run, and testifies only where all five are there and belong together.

    No key expires: a run's keys go with ``clean_up``. Every change may be repeated, so one whose answer was lost is
    sent again; ``newly`` is then 0, and the counts are right.

    Attributes:
        inspection: looks at the Redis behind it, for checks and diagnosis.
    """

    name = "redis"
    in_database = False
    STAGES = STATE_MANAGER_STAGES

    def __init__(self, url: str, *, deployment: str, identity: str, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        """Prepare to connect; the first call does.

        Args:
            url: ``redis://host:port/index``, ``rediss://`` or ``unix://``.
            deployment: the prefix of every key.
            identity: what tells this deployment from another one of the same name, see ``keys.identity_of``.
            timeout_seconds: how long one answer is waited for.

        Raises:
            ConfigurationError: the URL is none that Redis has.
        """
        self._client = connect(url, timeout_seconds)
        self._names = KeyNames(deployment)
        self._identity = identity
        self.inspection = RedisInspection(url, self._names, identity, timeout_seconds)

    def initialise(self, job: JobRef, total: int) -> None:
        """Begin to account for a run; a run of which any key exists stays as it is."""
        _refuse_negative(total)
        with answering():
            self._sign_index()
            self._run(_INITIALISE, job, total, secrets.token_bytes(_NONCE_BYTES))

    def account(self, job: JobRef, marks: Sequence[Mark]) -> Snapshot | Unknown:
        """Record marks and return the counts after them."""
        with answering():
            answer = self._run(_ACCOUNT, job, *ordinals_of(marks))
        return self._testimony(job, answer)

    def snapshot(self, job: JobRef) -> Snapshot | Unknown:
        """Return the counts; where there are none, further round trips find out why."""
        return self.snapshots([job])[job]

    def snapshots(self, jobs: Sequence[JobRef]) -> Mapping[JobRef, Snapshot | Unknown]:
        """Return the counts of each run in one round trip; where some have none, three more find out why."""
        calls = [(self._keys(job), (self._identity, *ordinals_of(()))) for job in jobs]
        try:
            with answering():
                answers = dict(zip(jobs, _ACCOUNT.run_each(self._client, calls), strict=True))
        except EngineUnavailableError as error:
            return dict.fromkeys(jobs, Unknown(str(error)))
        absent = self._absences([job for job, answer in answers.items() if answer == _ABSENT])
        return {job: absent.get(job) or self._read(job, answer) for job, answer in answers.items()}

    def all_tasks_processed(self, job: JobRef) -> bool | None:
        """Whether both stages are complete, in one round trip; None where the state manager cannot testify."""
        try:
            with answering():
                answer = self._run(_ACCOUNT, job, *ordinals_of(()))
        except EngineUnavailableError:
            return None
        return _snapshot(answer).all_tasks_processed if _is_known(answer) else None

    def rebuild_from(self, job: JobRef, total: int, marks: Iterable[Mark]) -> Snapshot:
        """Replace a run by its marks in one atomic step; what is accounted while they are read is kept.

        That holds where ``marks`` is a stream that begins to read the ledger when it is first asked. From a list that
        was read before, what was accounted in between is missing until the next rebuild.
        """
        _refuse_negative(total)
        with answering():
            self._sign_index()
            before = self._run(_BEFORE_REBUILD, job) or _NOTHING_BEFORE
        stages = bits_of(marks, total)
        with answering():
            return _snapshot(self._replace(job, total, before, stages))

    def clean_up(self, job: JobRef) -> None:
        """Delete a run's keys."""
        with answering():
            self._client.unlink(*self._names.of_run(job))

    def _replace(self, job: JobRef, total: int, before: Sequence[bytes], stages: dict[Stage, StageBits]) -> Any:
        nonce_before, *bits_before = before
        arguments: list[str | bytes | int] = [total, secrets.token_bytes(_NONCE_BYTES), nonce_before]
        for stage, accounted_before in zip(STATE_MANAGER_STAGES, bits_before, strict=True):
            bits = stages[stage]
            arguments += [accounted_before, bytes(bits.accounted), bytes(bits.failed)]
        return self._run(_REBUILD, job, *arguments)

    def held_runs(self) -> Holdings:
        """Return every run that has a key under the deployment's prefix, found by SCAN."""
        return self.inspection.holdings()

    def _run(self, script: scripts.Script, job: JobRef, *arguments: str | bytes | int) -> Any:
        return script.run(self._client, self._keys(job), (self._identity, *arguments))

    def _keys(self, job: JobRef) -> tuple[str, ...]:
        return (*self._names.of_run(job), *self._names.scratch(job))

    def _sign_index(self) -> None:
        """Only a change signs the database index: one that was merely read still tells that nobody has used it."""
        self._client.set(self._names.identity, self._identity, nx=True)

    def _testimony(self, job: JobRef, answer: Sequence[Any]) -> Snapshot | Unknown:
        if answer == _ABSENT:
            return Unknown(self.inspection.why_absent([job])[job], Silence.ABSENT)
        return _snapshot(answer) if _is_known(answer) else _broken(job, answer)

    def _read(self, job: JobRef, answer: Sequence[Any] | RedisError) -> Snapshot | Unknown:
        if isinstance(answer, RedisError):
            return Unknown(f"Redis refuses to tell of job {job.job_id}, run {job.run}: {answer}")
        return self._testimony(job, answer)

    def _absences(self, jobs: Sequence[JobRef]) -> Mapping[JobRef, Unknown]:
        """A run that is absent is told as absent, even where Redis then stops to answer why."""
        if not jobs:
            return {}
        try:
            reasons = self.inspection.why_absent(jobs)
            elsewhere = self.inspection.elsewhere(jobs)
        except EngineUnavailableError as error:
            return {job: Unknown(f"Redis has no state of it, and then: {error}", Silence.ABSENT) for job in jobs}
        return {job: _absence(reasons[job], elsewhere.get(job)) for job in jobs}


def _absence(reason: str, index: int | None) -> Unknown:
    if index is None:
        return Unknown(reason, Silence.ABSENT)
    return Unknown(f"{reason}; it lies under database index {index}: correct HEADCOUNT_STATE_URL", Silence.ELSEWHERE)


def _broken(job: JobRef, answer: Sequence[Any]) -> Unknown:
    word, *details = (part.decode() for part in answer)
    whose = f"the state of job {job.job_id}, run {job.run} in Redis"
    match word:
        case "foreign":
            reason = f"{whose} is of another deployment of the same name, or from before the secret key changed"
        case "broken":
            reason = f"{whose} is not whole: {', '.join(details)} was lost or does not belong to it"
        case _:
            reason = f"{whose} claims to be complete, but its counts do not agree with its marks"
    return Unknown(reason, Silence.BROKEN)


def _is_known(answer: Sequence[Any]) -> bool:
    return bool(answer[0] == b"known")


def _snapshot(answer: Sequence[Any]) -> Snapshot:
    _, total, *counts, newly = answer
    return Snapshot(tuple(_stages(total, counts)), newly)


def _stages(total: int, counts: Sequence[int]) -> Iterator[StageProgress]:
    for stage, accounted, failed in zip(STATE_MANAGER_STAGES, counts[::2], counts[1::2], strict=True):
        yield StageProgress(stage, total, accounted - failed, failed)


def _refuse_negative(total: int) -> None:
    if total < 0:
        raise ValueError(f"a run has 0 tasks or more, not {total}")
