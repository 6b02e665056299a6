"""Hearing: ask each witness about many runs, in its own time, so that none holds up or falsifies another."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from threading import Lock, Thread
from typing import Any

from django.db import InterfaceError, OperationalError, connection, connections, transaction

from headcount.domain.records import JobRef
from headcount.errors import TemporaryError
from headcount.ports.state_manager import Unknown

Answers = Mapping[JobRef, Any]
"""What a witness says of each run; ``Unknown`` where it does not testify."""

_MOST_FAILURES = 64
"""How often a question is divided to find the runs that it fails for; then all that is left is unknown."""

_MOST_WAITED_FOR = 4
"""How many questions one witness may owe an answer to before it is not asked any more."""

_owed: Counter[str] = Counter()
_owed_lock = Lock()


@dataclass(frozen=True, slots=True)
class Witness:
    """Somebody to ask.

    Attributes:
        name: for people.
        testify: says of each run what is known of it, or raises.
        in_database: whether it is asked over the caller's database connection, and so on the caller's thread.
    """

    name: str
    testify: Callable[[Sequence[JobRef]], Answers]
    in_database: bool = True


class AskedOnce:
    """A question that is put once: whoever asks again hears the same answer, an error too."""

    def __init__(self, ask: Callable[[], None]) -> None:
        self._ask = ask
        self._lock = Lock()
        self._answer: Future[None] = Future()

    def __call__(self) -> None:
        """Return or raise what the first to ask was answered."""
        with self._lock:
            if not self._answer.done():
                self._put()
        self._answer.result()

    def _put(self) -> None:
        try:
            self._answer.set_result(self._ask())
        except Exception as error:  # noqa: BLE001 - it is raised to everybody who asks
            self._answer.set_exception(error)


@contextmanager
def in_time(timeout: timedelta) -> Iterator[None]:
    """Have the block's reads of the database end in time, though somebody locks what they read.

    PostgreSQL gives a statement up then; a reader of SQLite waits for nobody.

    Raises:
        OperationalError: a statement took longer.
    """
    if connection.vendor != "postgresql":
        yield
        return
    milliseconds = max(1, round(timeout.total_seconds() * 1000))
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT set_config('statement_timeout', %s, true)", [str(milliseconds)])
        yield


def hear(witnesses: Sequence[Witness], jobs: Sequence[JobRef], timeout: timedelta) -> list[Answers]:
    """Return what each witness says of every run; ``Unknown`` with the reason where it says nothing in time.

    Witnesses beyond the database are asked at the same time, each on a thread of its own, while those in the database
    are asked here one after the other. ``timeout`` holds for each.
    """
    ends_at = time.monotonic() + timeout.total_seconds()
    beyond = {witness.name: _begin(witness, jobs) for witness in witnesses if not witness.in_database}
    here = {witness.name: _ask_here(witness, jobs, timeout) for witness in witnesses if witness.in_database}
    answers = here | {name: _await(future, ends_at) for name, future in beyond.items()}
    return [_complete(answers[witness.name], witness, jobs, timeout) for witness in witnesses]


def _complete(answers: Answers | None, witness: Witness, jobs: Sequence[JobRef], timeout: timedelta) -> Answers:
    if answers is None:
        return dict.fromkeys(jobs, Unknown(f"{witness.name}: no answer within {timeout.total_seconds():g} s"))
    return {job: answers[job] if job in answers else Unknown(f"{witness.name}: no word of this run") for job in jobs}


def _begin(witness: Witness, jobs: Sequence[JobRef]) -> Future[Answers]:
    """A thread that never ends must not keep the process from ending, so it is a daemon and of no pool."""
    future: Future[Answers] = Future()
    with _owed_lock:
        if _owed[witness.name] >= _MOST_WAITED_FOR:
            reason = f"{witness.name}: it still owes answers to {_MOST_WAITED_FOR} earlier questions"
            future.set_result(dict.fromkeys(jobs, Unknown(reason)))
            return future
        _owed[witness.name] += 1
    Thread(target=_answer, args=(future, witness, jobs), name=f"witness-{witness.name}", daemon=True).start()
    return future


def _answer(future: Future[Answers], witness: Witness, jobs: Sequence[JobRef]) -> None:
    try:
        future.set_result(_divided(witness, jobs))
    except BaseException as error:  # noqa: BLE001 - it is raised where the answer is awaited
        future.set_exception(error)
    finally:
        connections.close_all()
        with _owed_lock:
            _owed[witness.name] -= 1


def _await(future: Future[Answers], ends_at: float) -> Answers | None:
    try:
        return future.result(max(0.0, ends_at - time.monotonic()))
    except TimeoutError:
        return None


def _ask_here(witness: Witness, jobs: Sequence[JobRef], timeout: timedelta) -> Answers:
    def testify(some: Sequence[JobRef]) -> Answers:
        with in_time(timeout):
            return witness.testify(some)

    return _divided(replace(witness, testify=testify), jobs)


def _divided(witness: Witness, jobs: Sequence[JobRef]) -> Answers:
    """Ask about all, and where that fails because of some, about halves and halves of halves, to tell of the others."""
    found: dict[JobRef, Any] = {}
    waiting, failures = [jobs] if jobs else [], 0
    while waiting:
        some = waiting.pop()
        try:
            found |= witness.testify(some)
        except (TemporaryError, OperationalError, InterfaceError, OSError) as error:
            return dict.fromkeys(jobs, _unheard(witness, error)) | found
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what this witness has to say
            failures += 1
            if len(some) == 1 or failures > _MOST_FAILURES:
                found |= dict.fromkeys(some, _unheard(witness, error))
            else:
                waiting += [some[len(some) // 2 :], some[: len(some) // 2]]
    return found


def _unheard(witness: Witness, error: Exception) -> Unknown:
    words = str(error) if isinstance(error, TemporaryError) else f"{type(error).__name__}: {error}"
    return Unknown(f"{witness.name}: {' '.join(words.split())}")
