"""The server's API, one method for each request a worker makes."""

from collections.abc import Sequence
from typing import Final, TypeVar

import httpx
from pydantic import BaseModel, JsonValue

from headcount_worker.answers import read_answer
from headcount_worker.clock import SYSTEM_CLOCK, Clock
from headcount_worker.errors import RefusedError, ServerAwayError
from headcount_worker.reachability import Reachability
from headcount_worker.settings import API_PATH, WorkerSettings
from headcount_worker.wire import (
    ClaimedBatch,
    ClaimRequest,
    LeaseAnswers,
    LeaseList,
    PipelineOffer,
    PostedResult,
    PostedResults,
    Registration,
    ResultsAccepted,
    TokenIdentity,
)

Answer = TypeVar("Answer", bound=BaseModel)

ANSWER_SECONDS: Final = 60.0
CONNECT_SECONDS: Final = 10.0


class Registered(BaseModel):
    """The answer of a registration; a worker needs nothing of it but that it came."""

    pipelines: list[JsonValue] = []


class HeadcountClient:
    """One server, seen with one token. Safe to share between threads.

    Every method raises ServerAwayError when the same request may succeed later, and RefusedError or one of its kinds
    (TokenRefusedError, GoneError, TooLargeError) when it never will.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        clock: Clock = SYSTEM_CLOCK,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._worker = settings.worker
        self._clock = clock
        self._reachability = Reachability(clock)
        self._http = httpx.Client(
            base_url=settings.server + API_PATH,
            headers={
                "Authorization": f"Bearer {settings.token}",
                "User-Agent": "headcount-worker",
                "Content-Type": "application/json",
            },
            timeout=httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
            transport=transport,
        )

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def identity(self) -> TokenIdentity:
        """Ask which project the token is bound to."""
        return self._ask("GET", "/me", TokenIdentity)

    def register(self, project_id: int, service_name: str, offers: Sequence[PipelineOffer]) -> Registered:
        """Tell the project which pipelines this processing service runs."""
        body = Registration(processing_service_name=service_name, pipelines=list(offers))
        return self._ask("POST", f"/projects/{project_id}/pipelines", Registered, body)

    def claim(self, slugs: Sequence[str], batch_size: int, wait_seconds: float) -> ClaimedBatch:
        """Claim up to ``batch_size`` tasks of one job, waiting up to ``wait_seconds`` for the first to come."""
        body = ClaimRequest(
            pipelines=list(slugs), batch_size=batch_size, wait_seconds=wait_seconds, worker=self._worker
        )
        return self._ask("POST", "/tasks/claim", ClaimedBatch, body, ANSWER_SECONDS + wait_seconds)

    def post_results(self, job_id: int, results: Sequence[PostedResult]) -> ResultsAccepted:
        """Post results of one job; the answer says for each what became of it."""
        body = PostedResults(results=list(results), worker=self._worker)
        return self._ask("POST", f"/jobs/{job_id}/result", ResultsAccepted, body)

    def extend(self, leases: Sequence[str]) -> LeaseAnswers:
        """Ask for more time for these leases."""
        return self._ask("POST", "/tasks/extend", LeaseAnswers, LeaseList(leases=list(leases)))

    def release(self, leases: Sequence[str]) -> LeaseAnswers:
        """Give these leases back, so that another worker may have the tasks at once."""
        return self._ask("POST", "/tasks/release", LeaseAnswers, LeaseList(leases=list(leases)))

    def _ask(
        self,
        method: str,
        path: str,
        model: type[Answer],
        body: BaseModel | None = None,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> Answer:
        try:
            answer = self._send(method, path, model, body, answer_seconds)
        except ServerAwayError as away:
            self._reachability.away(str(away))
            raise
        except RefusedError:
            self._reachability.back()
            raise
        self._reachability.back()
        return answer

    def _send(
        self, method: str, path: str, model: type[Answer], body: BaseModel | None, answer_seconds: float
    ) -> Answer:
        content = None if body is None else body.model_dump_json().encode()
        timeout = httpx.Timeout(answer_seconds, connect=CONNECT_SECONDS)
        try:
            response = self._http.request(method, path, content=content, timeout=timeout)
        except httpx.RequestError as error:
            raise ServerAwayError(in_words(error)) from error
        return read_answer(response, model, self._clock.now())


def in_words(error: httpx.RequestError) -> str:
    """Give one line on why a request had no answer; timeouts carry no text of their own."""
    words = " ".join(str(error).split())
    return words or f"no answer ({type(error).__name__})"
