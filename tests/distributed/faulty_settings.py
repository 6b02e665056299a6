"""The settings of a host whose faults a test can arm, in the directory that ``HEADCOUNT_TEST_FAULTS`` names."""

from headcount.site.settings import *  # noqa: F403
from headcount.site.settings import INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "tests.distributed.faulty_app.FaultyHost"]
