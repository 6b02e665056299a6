"""A Django application that hands every part of this process a deployment with faults."""

import os
from functools import cache
from pathlib import Path
from typing import Any

from django.apps import AppConfig


class FaultyHost(AppConfig):
    name = "tests.distributed"
    label = "faulty_host"

    def ready(self) -> None:
        from headcount import wiring  # noqa: PLC0415 - its engines have tables, so the other applications come first

        wiring.deployment = cache(faulty_deployment)


def faulty_deployment() -> Any:
    from django.conf import settings  # noqa: PLC0415

    from headcount import wiring  # noqa: PLC0415
    from tests.distributed.faults import Faults, with_faults  # noqa: PLC0415

    faults = Faults(Path(os.environ["HEADCOUNT_TEST_FAULTS"]))
    return with_faults(wiring.build(settings.HEADCOUNT, faults.clock), faults)
