"""Who can work on what: processing services, pipelines, and workers as they were last seen."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from headcount.errors import BadInputError
from headcount.models import Pipeline, ProcessingService, Worker
from headcount.statements import write_transaction


@dataclass(frozen=True, slots=True)
class PipelineOffer:
    """A pipeline as a service offers it."""

    slug: str
    name: str
    version: str
    algorithms: Sequence[Mapping[str, Any]] = field(default_factory=tuple)


@dataclass(frozen=True, slots=True)
class PushService:
    """A service that does batches it is sent."""

    name: str
    url: str


def register(project_id: int, service: str, offers: Iterable[PipelineOffer], now: datetime) -> None:
    """Note that a service offers pipelines; name, version and algorithms follow the latest offer."""
    with write_transaction():
        row, _ = ProcessingService.objects.update_or_create(
            project_id=project_id, name=service, defaults={"last_seen_at": now}
        )
        row.pipelines.add(*[_register_pipeline(project_id, offer) for offer in offers])


def add_push_service(project_id: int, service: str, url: str, slugs: Iterable[str], now: datetime) -> None:
    """Note where a push service answers and what it runs; a pipeline that is known already stays as it is."""
    with write_transaction():
        row, _ = ProcessingService.objects.update_or_create(
            project_id=project_id, name=service, defaults={"url": url, "last_seen_at": now}
        )
        pipelines = [
            Pipeline.objects.get_or_create(project_id=project_id, slug=slug, defaults={"name": slug})[0]
            for slug in slugs
        ]
        row.pipelines.set(pipelines)


def push_service(project_id: int, slug: str) -> PushService | None:
    """Return the push service for a pipeline, the first by name where several run it, None where none does."""
    services = ProcessingService.objects.filter(project_id=project_id, pipelines__slug=slug).exclude(url="")
    row = services.order_by("name").first()
    return None if row is None else PushService(row.name, row.url)


def pipeline_id(project_id: int, slug: str) -> int:
    """Return the id of a pipeline.

    Raises:
        BadInputError: nobody offers it in this project; the message lists what is offered.
    """
    known = dict(Pipeline.objects.filter(project_id=project_id).values_list("slug", "id"))
    if slug not in known:
        offered = ", ".join(sorted(known)) or "none yet: start a worker first"
        raise BadInputError(f"no worker has offered a pipeline {slug!r} in this project; offered are: {offered}")
    return int(known[slug])


def offered(project_id: int) -> Sequence[str]:
    """Return the slugs of the pipelines offered in a project, in order."""
    return list(Pipeline.objects.filter(project_id=project_id).order_by("slug").values_list("slug", flat=True))


def worker_seen(project_id: int, name: str, pipelines: Iterable[str], now: datetime) -> None:
    """Note a worker's sign of life."""
    with write_transaction():
        Worker.objects.bulk_create(
            [Worker(project_id=project_id, name=name, pipelines=sorted(pipelines), last_seen_at=now)],
            update_conflicts=True,
            unique_fields=["project", "name"],
            update_fields=["pipelines", "last_seen_at"],
        )


def workers(project_id: int) -> Sequence[Worker]:
    """Return a project's workers, the latest seen first."""
    return list(Worker.objects.filter(project_id=project_id).order_by("-last_seen_at"))


def _register_pipeline(project_id: int, offer: PipelineOffer) -> Pipeline:
    pipeline, _ = Pipeline.objects.update_or_create(
        project_id=project_id,
        slug=offer.slug,
        defaults={
            "name": offer.name,
            "version": offer.version,
            "algorithms": [dict(algorithm) for algorithm in offer.algorithms],
        },
    )
    return pipeline
