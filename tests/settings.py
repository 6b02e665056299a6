"""Settings of the test run: a data directory of its own, and the database that the run is told to use."""

import os
import tempfile
from pathlib import Path

_DATA_DIR = Path(tempfile.mkdtemp(prefix="headcount-tests-"))
os.environ["HEADCOUNT_DATA_DIR"] = str(_DATA_DIR)
os.environ["HEADCOUNT_DATABASE_URL"] = os.environ.get("HEADCOUNT_TEST_DATABASE_URL", "")

from headcount.site.settings import *  # noqa: E402, F403
from headcount.site.settings import DATABASES  # noqa: E402

if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    # In memory, SQLite locks tables between threads instead of taking turns as it does on a file.
    DATABASES["default"]["TEST"] = {"NAME": str(_DATA_DIR / "test.sqlite3")}
