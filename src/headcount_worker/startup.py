"""The first words between a worker and its server."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import structlog

from headcount_worker.errors import (
    GoneError,
    NotHeadcountError,
    RefusedError,
    ServerAwayError,
    StartError,
    TokenRefusedError,
)
from headcount_worker.pipeline import Pipeline
from headcount_worker.shared import Shared

log = structlog.get_logger("headcount_worker")

Answer = TypeVar("Answer")


def introduce(shared: Shared, pipelines: Sequence[Pipeline]) -> bool:
    """Register the pipelines with the token's project, waiting for a server that is away; False when told to stop.

    Raises StartError when the address is not Headcount's or the registration is refused, and TokenRefusedError.
    """
    try:
        identity = _patiently(shared, shared.client.identity)
        if identity is None:
            return False
        return _register(shared, identity.project_id, pipelines)
    except (GoneError, NotHeadcountError) as error:
        raise StartError(f"{shared.settings.server} is not a Headcount server: {error}") from error
    except TokenRefusedError:
        raise
    except RefusedError as error:
        raise StartError(f"the server refuses this worker: {error}") from error


def _register(shared: Shared, project_id: int, pipelines: Sequence[Pipeline]) -> bool:
    name = shared.settings.service_name
    offers = [pipeline.offer() for pipeline in pipelines]
    answer = _patiently(shared, lambda: shared.client.register(project_id, name, offers))
    if answer is not None:
        slugs = ", ".join(pipeline.slug for pipeline in pipelines)
        log.info("registered", project_id=project_id, service=name, pipelines=slugs, worker=shared.settings.worker)
    return answer is not None


def _patiently(shared: Shared, request: Callable[[], Answer]) -> Answer | None:
    failures = 0
    while not shared.stopping.draining.is_set():
        try:
            return request()
        except NotHeadcountError:
            raise
        except ServerAwayError as away:
            failures += 1
            shared.clock.wait(shared.stopping.draining, shared.backoff.delay(failures, away.retry_after))
    return None
