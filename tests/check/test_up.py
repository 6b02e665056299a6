"""``headcount up --distributed`` with every server: jobs are done, what is killed comes back, nothing stays behind."""

import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from kombu import Connection
from PIL import Image as Picture

from headcount.conf import Settings
from headcount.engines.celery.application import CLASSES, queue_name
from headcount.testing.servers import PrivateServer, free_port
from headcount.testing.waiting import wait_until
from tests.servers import newest_nats, postgres_server, rabbitmq_url, redis_server

__all__ = ["newest_nats", "postgres_server", "rabbitmq_url", "redis_server"]

pytestmark = [pytest.mark.process, pytest.mark.timeout(240), pytest.mark.xdist_group("up")]


@dataclass
class Host:
    """One host of a distributed deployment."""

    variables: dict[str, str]
    port: int
    process: subprocess.Popen[bytes] | None = None

    def headcount(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "headcount", *arguments]
        environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "headcount.site.settings", **self.variables}
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    def up(self) -> None:
        command = [sys.executable, "-m", "headcount", "up", "--distributed", "--port", str(self.port)]
        self.process = subprocess.Popen([*command, "--processes", "1"], env={**os.environ, **self.variables})
        wait_until(self.answers, "the web server answers", 90)

    def answers(self) -> bool:
        """Whether the web server answers; reading the certificates, which it has none of, costs more than asking."""
        url = f"http://127.0.0.1:{self.port}/api/v2/openapi.json"
        try:
            return httpx.get(url, timeout=5, verify=False).status_code == 200
        except httpx.HTTPError:
            return False

    def processes(self) -> dict[int, str]:
        """Every process of this deployment with its command line, found by a variable that all inherit."""
        mark = f"HEADCOUNT_DEPLOYMENT_NAME={self.variables['HEADCOUNT_DEPLOYMENT_NAME']}".encode()
        found = {}
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
        return found

    def import_pictures(self, folder: Path) -> dict[str, object]:
        done = self.headcount("import", str(folder), "--watch", "--json")
        assert done.returncode == 0, done.stderr
        found: dict[str, object] = json.loads(done.stdout)
        return found


@pytest.fixture
def host(
    postgres_server: PrivateServer,
    redis_server: PrivateServer,
    newest_nats: PrivateServer,
    rabbitmq_url: str,
    tmp_path: Path,
) -> Iterator[Host]:
    name = f"t{secrets.token_hex(6)}"
    variables = {
        "HEADCOUNT_DATABASE_URL": postgres_server.url,
        "HEADCOUNT_STATE_URL": redis_server.url,
        "HEADCOUNT_QUEUE_URL": newest_nats.url,
        "HEADCOUNT_BROKER_URL": rabbitmq_url,
        "HEADCOUNT_SECRET_KEY": "a key that every host shares",
        "HEADCOUNT_DEPLOYMENT_NAME": name,
        "HEADCOUNT_DATA_DIR": str(tmp_path / "data"),
        "HEADCOUNT_DISPATCH_LEASE": "PT2S",
        "HEADCOUNT_HEALTH_INTERVAL": "PT2S",
        "DJANGO_SETTINGS_MODULE": "headcount.site.settings",
    }
    host = Host(variables, free_port())
    assert host.headcount("migrate").returncode == 0
    yield host
    for pid in host.processes():
        os.kill(pid, signal.SIGKILL)
    if host.process is not None:
        host.process.wait(30)
    with Connection(rabbitmq_url) as broker:
        for work_class in CLASSES:
            broker.default_channel.queue_delete(queue_name(Settings(deployment_name=name), work_class))


def test_a_deployment_does_jobs_survives_kills_and_ends_without_a_trace(host: Host, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for width in range(1, 31):
        Picture.new("RGB", (width, 5)).save(folder / f"{width}.png")
    host.up()
    assert host.import_pictures(folder)["status"] == "SUCCESS"

    before = host.processes()
    victims = [pid for pid, command in before.items() if ".internal" in command or "granian" in command]
    for pid in victims:
        os.kill(pid, signal.SIGKILL)
    wait_until(host.answers, "the web server is back")
    assert host.import_pictures(folder)["status"] == "SUCCESS"

    assert host.process is not None
    host.process.kill()
    host.process.wait(30)
    wait_until(lambda: host.processes() == {}, "everything has ended", 60)


def test_a_terminated_deployment_ends_in_good_order(host: Host) -> None:
    host.up()
    assert host.process is not None
    host.process.terminate()
    assert host.process.wait(60) == 0
    assert host.processes() == {}


def test_without_the_flag_it_says_what_to_run(tmp_path: Path) -> None:
    done = Host({"HEADCOUNT_DATA_DIR": str(tmp_path)}, 0).headcount("up")
    assert done.returncode == 2
    assert done.stderr == (
        "headcount: 'headcount up' needs --distributed; for everything in one process: headcount serve\n"
    )


def test_without_a_broker_it_says_what_to_set(tmp_path: Path) -> None:
    done = Host({"HEADCOUNT_DATA_DIR": str(tmp_path)}, 0).headcount("up", "--distributed")
    assert done.returncode == 2
    assert "HEADCOUNT_BROKER_URL" in done.stderr
    assert done.stderr.count("\n") == 1


def test_what_is_wrong_is_told_instead_of_started(tmp_path: Path) -> None:
    variables = {
        "HEADCOUNT_DATA_DIR": str(tmp_path),
        "HEADCOUNT_BROKER_URL": f"amqp://guest:guest@127.0.0.1:{free_port()}//",
    }
    done = Host(variables, 0).headcount("up", "--distributed")
    assert done.returncode == 2
    assert "WRONG broker" in done.stdout
    assert "WRONG hosts" in done.stdout
    assert "not ready" in done.stderr
