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
    certificates = {item.run: item for item in jobs.certificates(job.id)}
    ended = range(1, job.run + job.is_final)
    for run in [run for run in ended if run not in certificates]:
        now = job.status if run == job.run else f"in run {job.run}"
        yield f"the job is {now} but has no certificate for run {run}"
    for run, certificate in certificates.items():
        yield from _against_itself(certificate)
        if run not in ended:
            yield f"run {run} has a certificate but the job is in run {job.run}, {job.status}"
    if job.is_final and job.run in certificates:
        yield from _against_certificate(job, certificates[job.run], counts)


def _against_itself(certificate: Certificate) -> Iterator[str]:
    """Nothing changes a certificate, so it can be held against its own figures whatever became of the rows since."""
    if certificate.status is JobState.REVOKED or certificate.follows_dispatcher:
        return
    says = verdict(certificate.counts, certificate.threshold).status
    if says is not certificate.status:
        yield f"the certificate of run {certificate.run} says {certificate.status} but its figures say {says}"


def _against_certificate(job: JobRecord, certificate: Certificate, counts: TaskCounts) -> Iterator[str]:
    if certificate.status != job.status:
        yield f"the job is {job.status} but its certificate says {certificate.status}"
    if job.state is JobState.REVOKED:
        return
    if counts.open:
        yield f"the job is {job.status} but {counts.open} tasks are open"
    elif not certificate.follows_dispatcher and verdict(counts, job.failure_threshold).status != job.status:
        yield f"the job is {job.status} but its rows say {verdict(counts, job.failure_threshold).status}"


def _against_kind(deployment: Deployment, job: JobRecord) -> Iterator[str]:
    yield from deployment.kind(job.kind).offences(job.id, _MOST_NAMED)
