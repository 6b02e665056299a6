"""The pool of connections to PostgreSQL: threads give them back, and a server that was restarted is found again."""

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from headcount.testing import servers
from headcount.testing.servers import PrivateServer, ServerMissingError, free_port
from headcount.testing.waiting import wait_until
from tests.servers import need

pytestmark = pytest.mark.process


@pytest.fixture
def own_postgres() -> Iterator[PrivateServer]:
    try:
        with servers.postgres_server() as server:
            yield server
    except ServerMissingError as error:
        need(str(error))


@pytest.fixture
def client(own_postgres: PrivateServer, tmp_path: Path) -> Iterator[httpx.Client]:
    """A web server of sixteen threads that share one connection."""
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "headcount.site.settings",
        "HEADCOUNT_DATA_DIR": str(tmp_path),
        "HEADCOUNT_DATABASE_URL": own_postgres.url,
        "HEADCOUNT_DATABASE_POOL_SIZE": "1",
    }
    subprocess.run([sys.executable, "-m", "headcount", "migrate"], env=environment, check=True)
    port = free_port()
    size = ("--workers", "1", "--blocking-threads", "16")
    command = [sys.executable, "-m", "granian", "--interface", "wsgi", "--port", str(port), *size]
    process = subprocess.Popen([*command, "headcount.site.web:application"], env=environment)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}/api/v2", timeout=20) as client:
        try:
            wait_until(lambda: status_of(client) == 401, "the web server answers from the database")
            yield client
        finally:
            process.terminate()
            process.wait(20)


def status_of(client: httpx.Client) -> int:
    """What a request is answered with that looks a token up in the database."""
    try:
        return client.get("/me", headers={"Authorization": "Bearer unknown"}).status_code
    except httpx.TransportError:
        return 0


def test_threads_give_their_connections_back(client: httpx.Client) -> None:
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: status_of(client), range(100))) == {401}


def test_a_database_that_was_restarted_is_found_again(client: httpx.Client, own_postgres: PrivateServer) -> None:
    own_postgres.kill()
    assert status_of(client) == 503
    own_postgres.start()
    wait_until(lambda: status_of(client) == 401, "the web server answers from the database again", 15)
