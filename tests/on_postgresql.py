"""Runs the tests that touch the database once more, on a private PostgreSQL: ``python -m tests.on_postgresql``."""

import os
import subprocess
import sys

from headcount.testing.servers import ServerMissingError, postgres_server

DATABASE_TESTS = (
    "tests/store",
    "tests/flow",
    "tests/api",
    "tests/images",
    "tests/push",
    "tests/health",
    "tests/contracts/test_dispatcher.py::TestDatabaseDispatcher",
    "tests/contracts/test_state_manager.py::TestDatabaseStateManager",
    "tests/contracts/test_task_queue.py::TestDatabaseTaskQueue",
)


def main() -> int:
    """Run pytest with the server's address in the environment; returns its exit code."""
    try:
        with postgres_server() as server:
            return run_tests(server.url)
    except ServerMissingError as error:
        if os.environ.get("CI"):
            raise
        print(f"not run on PostgreSQL: {error}")
        return 0


def run_tests(database_url: str) -> int:
    """Run the tests on the database at this address."""
    environment = {**os.environ, "HEADCOUNT_TEST_DATABASE_URL": database_url}
    command = [sys.executable, "-m", "pytest", "-n", "auto", *DATABASE_TESTS, *sys.argv[1:]]
    return subprocess.run(command, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
