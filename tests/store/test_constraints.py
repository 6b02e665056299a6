"""Every named constraint is in the database itself and refuses the row it is there for."""

import pytest
from django.apps import apps
from django.db import IntegrityError, connection, models, transaction

from headcount.models import (
    Certificate,
    Job,
    JobPatience,
    JobStage,
    OutboxEntry,
    Pipeline,
    ProcessingService,
    RepairTurn,
    Task,
    Worker,
)
from headcount.testing.factories import EPOCH, make_started_job

pytestmark = pytest.mark.django_db


BLANK_CERTIFICATE = {
    **dict.fromkeys(("waiting", "leased", "received", "saved", "failed", "cancelled"), 0),
    "run": 1,
    "status": "SUCCESS",
    "arithmetic": "",
    "reason": "",
    "threshold": 0.5,
    "decided_at": EPOCH,
}


def own(job: Job) -> Job:
    return job


def its_project(job: Job):
    return job.project


def twin(model: type[models.Model], **fields: object):
    """Insert a row and then the same again."""

    def violate(job: Job) -> None:
        values = {name: value(job) if callable(value) else value for name, value in fields.items()}
        with transaction.atomic():
            model.objects.create(**values)
        model.objects.create(**values)

    return violate


def job_becomes(**fields: object):
    return lambda job: Job.objects.filter(pk=job.pk).update(**fields)


def task_becomes(**fields: object):
    return lambda job: Task.objects.filter(job=job, ordinal=0).update(**fields)


def new_task(**fields: object):
    return lambda job: Task.objects.create(job=job, **fields)


def new_patience(**fields: object):
    blank = {"run": 1, "watched_at": EPOCH, "mark": "", "moved_at": EPOCH}
    return lambda job: JobPatience.objects.create(job=job, **(blank | fields))


def new_certificate(**fields: object):
    return lambda job: Certificate.objects.create(job=job, **(BLANK_CERTIFICATE | fields))


VIOLATIONS = [
    ("headcount_service_name_once", twin(ProcessingService, project=its_project, name="twin")),
    ("headcount_pipeline_slug_once", twin(Pipeline, project=its_project, slug="twin", name="twin")),
    ("headcount_worker_name_once", twin(Worker, project=its_project, name="twin", last_seen_at=EPOCH)),
    ("headcount_job_final_has_finished_at", job_becomes(status="SUCCESS")),
    ("headcount_job_final_has_finished_at", job_becomes(finished_at=EPOCH)),
    ("headcount_job_threshold_is_share", job_becomes(failure_threshold=1.01)),
    ("headcount_job_threshold_is_share", job_becomes(failure_threshold=-0.01)),
    ("headcount_job_run_from_one", job_becomes(run=0)),
    ("headcount_job_dispatch_mode_known", job_becomes(dispatch_mode="by_pigeon")),
    ("headcount_job_published_after_collected", job_becomes(task_total=None, published_at=EPOCH)),
    ("headcount_task_ordinal_once", new_task(ordinal=0, key="another")),
    ("headcount_task_key_once", new_task(ordinal=9, key="k0")),
    ("headcount_task_state_known", task_becomes(state="melted")),
    ("headcount_task_releases_are_attempts", task_becomes(releases=1)),
    ("headcount_task_accounted_has_time", task_becomes(state="saved")),
    ("headcount_task_accounted_has_time", task_becomes(accounted_at=EPOCH)),
    ("headcount_task_leased_has_end", task_becomes(state="leased")),
    ("headcount_task_leased_has_end", task_becomes(leased_until=EPOCH)),
    ("headcount_task_failed_has_error", task_becomes(state="failed", accounted_at=EPOCH)),
    ("headcount_task_failed_has_error", task_becomes(error="why")),
    ("headcount_stage_once", twin(JobStage, job=own, stage="collect", updated_at=EPOCH)),
    (
        "headcount_stage_counts_within_total",
        lambda job: JobStage.objects.create(job=job, stage="collect", total=2, done=2, failed=1, updated_at=EPOCH),
    ),
    ("headcount_certificate_once_a_run", twin(Certificate, job=own, **BLANK_CERTIFICATE)),
    ("headcount_certificate_status_is_final", new_certificate(status="STARTED")),
    ("headcount_certificate_nothing_open", new_certificate(waiting=1)),
    ("headcount_certificate_nothing_open", new_certificate(status="FAILURE", leased=1)),
    ("headcount_certificate_nothing_open", new_certificate(received=1)),
    ("headcount_outbox_once", twin(OutboxEntry, job=own, run=1, topic="clean_up", created_at=EPOCH)),
    ("headcount_job_set_aside_within_total", job_becomes(set_aside=3)),
    ("headcount_patience_run_from_one", new_patience(run=0)),
    ("headcount_patience_not_negative", new_patience(idle_seconds=-1.0)),
    ("headcount_patience_not_negative", new_patience(unserved_seconds=-0.5)),
    ("headcount_repair_turn_once", twin(RepairTurn, job_id=1, run=1, held_until=EPOCH)),
]


@pytest.mark.parametrize(("name", "violate"), VIOLATIONS, ids=[name for name, _ in VIOLATIONS])
def test_the_database_refuses_the_row(name: str, violate) -> None:
    job = Job.objects.get(pk=make_started_job(2).id)
    with pytest.raises(IntegrityError) as refusal, transaction.atomic():
        violate(job)
    assert names_constraint(str(refusal.value), name)


def names_constraint(message: str, name: str) -> bool:
    """PostgreSQL names every constraint; SQLite names a check, and of a unique one the columns."""
    if name in message:
        return True
    unique = {
        constraint.name: {f"{model._meta.db_table}.{column}" for column in columns(model, constraint)}
        for model, constraint in constraints()
        if isinstance(constraint, models.UniqueConstraint)
    }
    violated = message.removeprefix("UNIQUE constraint failed: ").split(", ")
    return connection.vendor == "sqlite" and (set(violated) == unique[name] or message.endswith(f"index '{name}'"))


def columns(model: type[models.Model], constraint: models.UniqueConstraint) -> list[str]:
    names = constraint.fields or [expression.name for expression in constraint.expressions]
    return [model._meta.get_field(name).column for name in names]


def constraints() -> list[tuple[type[models.Model], models.BaseConstraint]]:
    models_of_engine = apps.get_app_config("headcount").get_models()
    return [(model, constraint) for model in models_of_engine for constraint in model._meta.constraints]


def test_every_named_constraint_has_a_violation() -> None:
    assert {constraint.name for _, constraint in constraints()} == {name for name, _ in VIOLATIONS}


@pytest.mark.parametrize("status", ["MELTED", "success", ""])
def test_a_status_nobody_knows_is_tolerated(status: str) -> None:
    job = make_started_job(1)
    assert Job.objects.filter(pk=job.id).update(status=status) == 1


def test_a_certificate_of_a_revoked_job_may_have_open_tasks() -> None:
    job = Job.objects.get(pk=make_started_job(1).id)
    assert new_certificate(status="REVOKED", waiting=1)(job).pk
