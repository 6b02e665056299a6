"""How calls of an engine in memory go wrong: it does not answer, its answer is lost, or the caller dies."""

from collections import defaultdict
from collections.abc import Callable
from enum import Enum
from functools import wraps
from threading import RLock
from typing import Concatenate, ParamSpec, Protocol, TypeVar

from headcount.errors import EngineUnavailableError


class ProcessDied(BaseException):
    """The calling process ends here, as by ``kill -9``; not an ``Exception``, so that nothing on the way catches it."""


class Fault(Enum):
    """How a call goes wrong."""

    UNAVAILABLE = "the engine does not answer and did nothing"
    ANSWER_LOST = "the engine did it, but its answer is lost"
    DIED_BEFORE = "the calling process dies before the engine is asked"
    DIED_AFTER = "the calling process dies just after the engine did it"


_NOT_DONE = frozenset({Fault.UNAVAILABLE, Fault.DIED_BEFORE})
_DEADLY = frozenset({Fault.DIED_BEFORE, Fault.DIED_AFTER})


class Faults:
    """What goes wrong with the calls of one engine, by the name of the method.

    Attributes:
        watcher: called with the method's name before every call, whether a fault follows or not; what it does happens
            at that very point of the caller's work, so a test can have another process act in between.
    """

    def __init__(self, engine: str) -> None:
        self._engine = engine
        self._next: dict[str, list[Fault]] = defaultdict(list)
        self.down = False
        self.watcher: Callable[[str], None] | None = None

    def plan(self, method: str, fault: Fault, times: int = 1) -> None:
        """Let the next calls of a method go wrong."""
        self._next[method].extend([fault] * times)

    def clear(self) -> None:
        """Let nothing go wrong from now on."""
        self._next.clear()
        self.down = False

    def take(self, method: str) -> Fault | None:
        """Return what goes wrong with this call; each planned fault happens once."""
        if self.watcher is not None:
            self.watcher(method)
        if planned := self._next.get(method):
            return planned.pop(0)
        return Fault.UNAVAILABLE if self.down else None

    def strike(self, fault: Fault, method: str) -> None:
        """End the call as the fault has it."""
        if fault in _DEADLY:
            raise ProcessDied(f"{fault.value}: {self._engine} {method}")
        raise EngineUnavailableError(f"{self._engine} {method}: {fault.value}")


class _Faulty(Protocol):
    faults: Faults
    _lock: RLock


_Engine = TypeVar("_Engine", bound=_Faulty)
_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")
_Method = Callable[Concatenate[_Engine, _Parameters], _Result]


def breakable(method: _Method[_Engine, _Parameters, _Result]) -> _Method[_Engine, _Parameters, _Result]:
    """Let a method take part in the faults of its engine, and one thread at a time into it."""
    name = method.__name__.removeprefix("_")

    @wraps(method)
    def call(engine: _Engine, /, *args: _Parameters.args, **kwargs: _Parameters.kwargs) -> _Result:
        fault = engine.faults.take(name)
        if fault in _NOT_DONE:
            engine.faults.strike(fault, name)
        with engine._lock:  # noqa: SLF001 - the decorator is part of the engine
            result = method(engine, *args, **kwargs)
        if fault is not None:
            engine.faults.strike(fault, name)
        return result

    return call
