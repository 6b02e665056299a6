"""Push: have a push service do the tasks of a ``sync_api`` job, batch by batch, and account what it answers."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

import httpx

from headcount.domain.lease_token import Lease
from headcount.domain.records import JobRecord, LeasedTask, Outcome
from headcount.domain.states import WORKABLE_STATES
from headcount.errors import BadInputError, ConfigurationError, PermanentError, TemporaryError
from headcount.flow.account import account
from headcount.flow.lost import fail_spent
from headcount.flow.receive import outcome_of
from headcount.ports.deployment import Deployment
from headcount.ports.dispatcher import Checkpoint, never_interrupted
from headcount.store import jobs, ledger, registry
from headcount.store.registry import PushService

BATCH = 8
"""Tasks in one request; also what a crash has to do again."""

_CONNECT_SECONDS = 5.0
_END_OF_TIME = datetime.max.replace(tzinfo=UTC)
_MAY_PASS = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}
_MAX_WORDS = 300


def push(deployment: Deployment, job: JobRecord, checkpoint: Checkpoint = never_interrupted) -> None:
    """Do every open task of a ``sync_api`` job, until all are accounted or the job is no longer wanted.

    A task that the service leaves out of its answer is asked for again while it has attempts left.

    Raises:
        TemporaryError: the service does not answer; what was accounted stays, the attempt of the batch counts.
        PermanentError: there is no service for the pipeline, or no address at which it would find the images.
    """
    service = _service_for(job.project_id, job.pipeline or "")
    base_url = _public_address(deployment)
    seconds = deployment.settings.push_timeout.total_seconds()
    with httpx.Client(timeout=httpx.Timeout(seconds, connect=_CONNECT_SECONDS)) as client:
        while ordinals := ledger.open_ordinals(job.id):
            for batch in _batches(ordinals):
                checkpoint()
                if jobs.status_of(job.id) not in WORKABLE_STATES:
                    return
                _push_batch(deployment, job, batch, _Line(client, service, base_url))


def check_can_be_pushed(deployment: Deployment, project_id: int, pipeline: str) -> None:
    """Refuse a ``sync_api`` job, before it is made or begins anew, that the dispatcher could only give up.

    Raises:
        BadInputError: no push service runs the pipeline, or the service would not find the images; the message says
            what to do or to set.
    """
    try:
        _service_for(project_id, pipeline)
        _public_address(deployment)
    except PermanentError as error:
        raise BadInputError(str(error)) from error


class _Line:
    """The way to a service: where batches go and where it finds their images."""

    def __init__(self, client: httpx.Client, service: PushService, base_url: str) -> None:
        self._client = client
        self._service = service
        self.base_url = base_url

    def ask(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return what the service answers to a batch.

        Raises:
            TemporaryError: it does not answer, or not as a push service does.
            BadInputError: it refuses the batch; the message says why.
        """
        name = f"push service {self._service.name!r}"
        try:
            response = self._client.post(f"{self._service.url}/process", json=body)
        except httpx.HTTPError as error:
            raise TemporaryError(f"{name} does not answer: {error or type(error).__name__}") from error
        if response.is_client_error and response.status_code not in _MAY_PASS:
            raise BadInputError(f"{name} refuses the batch: {response.status_code} {response.text[:_MAX_WORDS]}")
        if not response.is_success:
            raise TemporaryError(f"{name} answers {response.status_code}")
        return _json_object(name, response)


def service_address(url: str) -> str:
    """Return the address of a push service without a trailing slash.

    Raises:
        BadInputError: it is not an HTTP URL.
    """
    try:
        parsed = httpx.URL(url.strip())
    except httpx.InvalidURL as error:
        raise BadInputError(f"the service's URL {url!r} is not a URL: {error}") from error
    if parsed.scheme not in {"http", "https"} or not parsed.host:
        raise BadInputError(f"the service's URL {url!r} must look like http://gpu-box:8100")
    return str(parsed.copy_with(query=None, fragment=None)).rstrip("/")


def _service_for(project_id: int, pipeline: str) -> PushService:
    service = registry.push_service(project_id, pipeline)
    if service is None:
        raise PermanentError(
            f"no push service runs {pipeline!r} in this project: "
            f"headcount service add --name NAME --url URL --pipeline {pipeline!r}"
        )
    return service


def _public_address(deployment: Deployment) -> str:
    if not deployment.settings.public_url:
        raise ConfigurationError(
            "HEADCOUNT_PUBLIC_URL is not set: set it to where a push service finds the images of a sync_api job, "
            "such as https://headcount.example"
        )
    return deployment.settings.public_url.rstrip("/")


def _batches(ordinals: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(ordinals), BATCH):
        yield ordinals[start : start + BATCH]


def _push_batch(deployment: Deployment, job: JobRecord, ordinals: Sequence[int], line: _Line) -> None:
    tasks = _begin(deployment, job, ordinals)
    if not tasks:
        return
    outcomes = _outcomes(deployment, job, tasks, line)
    if outcomes:
        account(deployment, job, outcomes)


def _begin(deployment: Deployment, job: JobRecord, ordinals: Sequence[int]) -> list[LeasedTask]:
    # The dispatcher is the only one who hands these tasks out: a running lease is that of a dispatcher that died.
    fail_spent(deployment, job, ordinals, held_until=_END_OF_TIME)
    return ledger.begin_attempts(
        job.id,
        ordinals,
        worker="dispatcher",
        leased_until=deployment.clock() + deployment.settings.push_timeout,
        max_attempts=deployment.settings.max_attempts,
    )


def _outcomes(deployment: Deployment, job: JobRecord, tasks: Sequence[LeasedTask], line: _Line) -> list[Outcome]:
    kind = deployment.kind(job.kind)
    try:
        answer = line.ask(kind.present_batch(job, tasks, line.base_url))
        answers = kind.split_answer(answer)
    except BadInputError as error:
        answers = {task.key: {"error": str(error)} for task in tasks}
    answered = [task for task in tasks if task.key in answers]
    return [outcome_of(kind, _lease(job, task), answers[task.key])[0] for task in answered]


def _lease(job: JobRecord, task: LeasedTask) -> Lease:
    return Lease(job.id, job.run, task.ordinal, task.attempt, sequence=0)


def _json_object(name: str, response: httpx.Response) -> Mapping[str, Any]:
    try:
        answer = response.json()
    except ValueError as error:
        raise TemporaryError(f"{name} answers something that is not JSON") from error
    if not isinstance(answer, dict):
        raise TemporaryError(f"{name} answers JSON that is not an object")
    return answer
