"""The names of the keys: every key of a run carries the same hash tag, so that a cluster keeps them together."""

import hashlib
import re
from dataclasses import dataclass

from headcount.domain.records import JobRef
from headcount.domain.states import STATE_MANAGER_STAGES

RECORD = "record"
BITMAPS = tuple(f"{stage}_{word}" for stage in STATE_MANAGER_STAGES for word in ("accounted", "failed"))
"""The bitmaps of a run, in the order in which the scripts take them."""

_SCRATCH = ("scratch_since", "scratch")
_IDENTITY_LENGTH = 32


@dataclass(frozen=True, slots=True)
class KeyNames:
    """Names the keys of one deployment; ``deployment`` is the prefix of all its names."""

    deployment: str

    @property
    def identity(self) -> str:
        """The key that says which deployment uses a database index under this name."""
        return f"{self.deployment}:identity"

    def of_run(self, job: JobRef) -> tuple[str, ...]:
        """Return every key of a run: its record, then its bitmaps."""
        return self._named(job, (RECORD, *BITMAPS))

    def scratch(self, job: JobRef) -> tuple[str, ...]:
        """Return the keys that exist only while a rebuild of the run is being written."""
        return self._named(job, _SCRATCH)

    @property
    def pattern(self) -> str:
        """What SCAN matches every key of this deployment with."""
        return f"{self.deployment}:*"

    def run_of(self, key: str) -> JobRef | None:
        """Return the run a key belongs to, or None where it is not of a run of this deployment."""
        found = re.match(rf"{re.escape(self.deployment)}:{{job:(\d+):(\d+)}}:", key)
        return JobRef(int(found[1]), int(found[2])) if found else None

    def _named(self, job: JobRef, words: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(f"{self.deployment}:{{job:{job.job_id}:{job.run}}}:{word}" for word in words)


def identity_of(secret_key: str) -> str:
    """Derive from its secret what tells a deployment from another one of the same name; it does not reveal the secret.

    Every process of one deployment shares the secret, for they verify each other's lease tokens.
    """
    return hashlib.sha256(b"headcount deployment identity:" + secret_key.encode()).hexdigest()[:_IDENTITY_LENGTH]
