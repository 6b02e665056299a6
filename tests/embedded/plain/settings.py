"""The embedded deployment with job kinds that can be held still."""

from headcount.site.settings import *  # noqa: F403
from headcount.site.settings import HEADCOUNT_JOB_KINDS

HEADCOUNT_JOB_KINDS = [
    *[kind for kind in HEADCOUNT_JOB_KINDS if not kind.endswith("ImportImagesKind")],
    "tests.embedded.plain.kinds.HeldImport",
    "tests.embedded.plain.kinds.Numbers",
]
