"""Audit: prove from the rows themselves that every task of a job is accounted for, or name the offenders."""

from collections.abc import Iterator
from dataclasses import dataclass

from headcount.domain.records import Certificate, JobRecord, TaskCounts
from headcount.domain.states import JobState
from headcount.domain.verdict import describe, verdict
from headcount.ports.deployment import Deployment
from headcount.store import jobs, ledger

_MOST_NAMED = 10


@dataclass(frozen=True, slots=True)
class Audit:
    """The outcome of an audit: a line of arithmetic, and a sentence for each offence."""

    line: str
    offences: tuple[str, ...]

    @property
    def clean(self) -> bool:
        """Whether there is no offence."""
        return not self.offences


def audit(deployment: Deployment, job_id: int) -> Audit:
    """Count a job's rows and hold them against its total, its certificate and what its kind saved.

    Raises:
        NotFoundError: there is no such job.
    """
    job = jobs.get(job_id)
    counts = ledger.counts(job_id)
    offences = [*_against_total(job, counts), *_against_status(job, counts), *_against_kind(deployment, job)]
    result = "clean" if not offences else f"{len(offences)} offences"
    return Audit(f"audit of job {job.id}, run {job.run}: N = {describe(counts)}: {result}", tuple(offences))


def _against_total(job: JobRecord, counts: TaskCounts) -> Iterator[str]:
    if job.task_total is None:
        if job.is_final and job.state is not JobState.REVOKED:
            yield f"the job is {job.status} but was never collected whole"
        return
    if counts.total != job.task_total:
        yield f"the job has {job.task_total} tasks but the ledger holds {counts.total}"
    if counts.total and ledger.size(job.id) != counts.total:
        yield f"ordinals run to {ledger.size(job.id) - 1} but there are {counts.total} rows: some are missing"


def _against_status(job: JobRecord, counts: TaskCounts) -> Iterator[str]:
    certificate = next((item for item in jobs.certificates(job.id) if item.run == job.run), None)
    if job.is_final and certificate is None:
        yield f"the job is {job.status} but has no certificate for run {job.run}"
    if certificate is not None:
        yield from _against_certificate(job, certificate, counts)


def _against_certificate(job: JobRecord, certificate: Certificate, counts: TaskCounts) -> Iterator[str]:
    if certificate.status != job.status:
        yield f"the job is {job.status} but its certificate says {certificate.status}"
    if job.state is JobState.REVOKED:
        return
    if counts.open:
        yield f"the job is {job.status} but {counts.open} tasks are open"
    elif verdict(counts, job.failure_threshold).status != job.status:
        yield f"the job is {job.status} but its rows say {verdict(counts, job.failure_threshold).status}"


def _against_kind(deployment: Deployment, job: JobRecord) -> Iterator[str]:
    strays = deployment.kind(job.kind).strays(job.id, _MOST_NAMED)
    for stray in strays:
        yield f"saved without standing in the ledger as saved: {stray}"
