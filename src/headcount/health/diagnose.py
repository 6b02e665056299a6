"""Diagnose: say of one job what is known, by whom, and what will be done about it. Nothing is changed.

The findings are those of ``decide``, on which the health loop acts: what a diagnosis says is what the loop does.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from headcount.domain.records import JobRecord
from headcount.health.decide import decide, headline
from headcount.health.finding import Finding
from headcount.health.observe import observe
from headcount.health.policy import policy_of
from headcount.health.testimony import Statement, statements
from headcount.ports.deployment import Deployment


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What is known of a job, by whom, and what will be done about it.

    Attributes:
        job: the job's row.
        at: the moment of the diagnosis.
        witnesses: what each witness says, or why it is silent.
        findings: what is the matter, in the order in which the remedies would be applied; never empty.
    """

    job: JobRecord
    at: datetime
    witnesses: tuple[Statement, ...]
    findings: tuple[Finding, ...]

    @property
    def headline(self) -> Finding:
        """The finding that says most about where the job stands."""
        return headline(self.findings)

    @property
    def besides(self) -> tuple[Finding, ...]:
        """Every finding but the headline."""
        return tuple(finding for finding in self.findings if finding is not self.headline)


def diagnose(deployment: Deployment, job_id: int) -> Diagnosis:
    """Ask every witness of a job and say what is the matter with it.

    Raises:
        NotFoundError: there is no such job.
        EngineUnavailableError: the database does not answer for the job's row.
    """
    observation = observe(deployment, job_id)
    now = deployment.clock()
    findings = decide(observation, policy_of(deployment.settings), now)
    return Diagnosis(observation.job, now, statements(observation), findings)


def as_document(diagnosis: Diagnosis) -> dict[str, Any]:
    """Return a diagnosis ready to be shown as JSON, the same in the API and the command line."""
    return {
        "job_id": diagnosis.job.id,
        "run": diagnosis.job.run,
        "status": diagnosis.job.status,
        "at": diagnosis.at,
        "headline": _finding(diagnosis.headline),
        "findings": [_finding(finding) for finding in diagnosis.findings],
        "witnesses": [
            {"witness": item.witness, "says": item.says, "silent": item.is_silent} for item in diagnosis.witnesses
        ],
    }


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "condition": finding.condition,
        "remedy": finding.remedy,
        "explanation": finding.explanation,
        "next_step": finding.next_step,
        "due": finding.due,
        "command": finding.command,
        "fallback": finding.fallback,
        "outcome": finding.outcome,
        "evidence": dict(finding.evidence),
    }
