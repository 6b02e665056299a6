"""Job kinds that stop halfway and say so, for tests that kill the process there.

While the file ``HEADCOUNT_TEST_GATE`` exists they hold still at a certain task, after making the file
``HEADCOUNT_TEST_GATE`` + ``.reached``.
"""

import os
import time
from pathlib import Path

from headcount.domain.records import TaskSpec
from headcount.domain.states import DispatchMode
from headcount.ports.job_kind import JobKind
from headcount_images.kinds.image_import import ImportImagesKind

NUMBERS = 5000
HELD_NUMBER = 2500
HELD_IMAGE = 25


def hold_still():
    gate = Path(os.environ["HEADCOUNT_TEST_GATE"])
    while gate.exists():
        gate.with_name(f"{gate.name}.reached").touch()
        time.sleep(0.01)


class Numbers(JobKind):
    """Collects five thousand numbers, holding still in the middle; workers have nothing to do but answer."""

    name = "numbers"
    dispatch_modes = frozenset({DispatchMode.ASYNC_API})

    def collect(self, job):
        for number in range(NUMBERS):
            if number == HELD_NUMBER:
                hold_still()
            yield TaskSpec(f"number-{number}")

    def save(self, job, results):
        """Nothing is kept of an answer."""


class HeldImport(ImportImagesKind):
    """The import of images, holding still at one of them."""

    def process(self, job, task):
        if task.ordinal == HELD_IMAGE:
            hold_still()
        return super().process(job, task)
