"""A whole deployment as a test sees it: private servers, the processes of Headcount on them, and ways to hurt both."""

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import psycopg
from kombu import Connection, Exchange

from headcount.conf import Settings
from headcount.engines.celery.application import CLASSES, queue_name
from headcount.testing import servers
from headcount.testing.servers import PrivateServer, free_port
from headcount.testing.waiting import wait_until
from tests.distributed.faults import Faults

ROOT = Path(__file__).parents[2]
LEASE_SECONDS = 5
START_SECONDS = 90
IMPATIENCE = {
    "HEADCOUNT_ACK_WAIT": f"PT{LEASE_SECONDS}S",
    "HEADCOUNT_DISPATCH_LEASE": "PT2S",
    "HEADCOUNT_HEALTH_INTERVAL": "PT1S",
}
"""What has the consequences of an accident come sooner than in an installation."""
SECRET = "the key that every process shares"


@dataclass(frozen=True, slots=True)
class Servers:
    """The servers of a deployment; the database ``postgres`` is the empty one that others are copied from."""

    postgres: PrivateServer
    nats: PrivateServer
    redis: PrivateServer


@dataclass(frozen=True, slots=True)
class Site:
    """One deployment: its servers and its settings as environment variables."""

    servers: Servers
    variables: Mapping[str, str]
    folder: Path

    @property
    def name(self) -> str:
        return self.variables["HEADCOUNT_DEPLOYMENT_NAME"]

    @property
    def database_url(self) -> str:
        return self.variables["HEADCOUNT_DATABASE_URL"]

    @property
    def environment(self) -> dict[str, str]:
        """What a process of this deployment finds, and nothing that the test run is set up with."""
        inherited = {name: text for name, text in os.environ.items() if not name.startswith(("HEADCOUNT_", "DJANGO_"))}
        return {**inherited, "PYTHONPATH": str(ROOT), **self.variables}

    @property
    def faults(self) -> Faults:
        """What a test arms; only hosts ``with_faults`` look."""
        return Faults(self.folder / "faults")

    def with_faults(self) -> "Site":
        """The same deployment, for hosts that suffer what a test arms."""
        self.faults.directory.mkdir(exist_ok=True)
        return self.with_variables(
            DJANGO_SETTINGS_MODULE="tests.distributed.faulty_settings",
            HEADCOUNT_TEST_FAULTS=str(self.faults.directory),
        )

    def as_patient_as_installed(self) -> "Site":
        """The same deployment, with the product's own leases and intervals."""
        kept = {name: text for name, text in self.variables.items() if name not in IMPATIENCE}
        return replace(self, variables=kept)

    def with_variables(self, **variables: str) -> "Site":
        return replace(self, variables={**self.variables, **variables})

    def run(self, *command: str, pass_fds: Sequence[int] = ()) -> str:
        """Run a Python module to its end and return what it prints; it inherits the descriptors that are passed."""
        line = [sys.executable, "-m", *command]
        done = subprocess.run(
            line, env=self.environment, capture_output=True, text=True, check=False, pass_fds=pass_fds
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def processes(self, *words: str) -> dict[int, str]:
        """Processes of this deployment whose command line has all the words, found by a variable that all inherit."""
        mark = f"HEADCOUNT_DEPLOYMENT_NAME={self.name}".encode()
        found = {}
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        return {pid: line for pid, line in found.items() if all(word in line for word in words)}

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")


@contextmanager
def private_servers() -> Iterator[Servers]:
    """Start the servers and make the empty database."""
    with ExitStack() as stack:
        postgres = stack.enter_context(servers.postgres_server())
        nats = stack.enter_context(servers.nats_server(servers.newest_nats()))
        redis = stack.enter_context(servers.redis_server())
        made = Servers(postgres, nats, redis)
        with site_on(made, postgres.url) as template:
            template.run("headcount", "migrate")
        yield made


@contextmanager
def new_site(on: Servers, **variables: str) -> Iterator[Site]:
    """Make a deployment with a database of its own; afterwards nothing of it runs any more."""
    name = f"t{secrets.token_hex(6)}"
    with closing(psycopg.connect(f"{on.postgres.url.rpartition('/')[0]}/template1", autocommit=True)) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE postgres")
    with site_on(on, f"{on.postgres.url.rpartition('/')[0]}/{name}", name, **variables) as site:
        try:
            yield site
        finally:
            end(site)
            forget_queues(site)


@contextmanager
def site_on(on: Servers, database_url: str, name: str = "template", **variables: str) -> Iterator[Site]:
    """Describe a deployment on a database."""
    folder = Path(tempfile.mkdtemp(prefix="headcount-site-"))
    basic = {
        "HEADCOUNT_DATABASE_URL": database_url,
        "HEADCOUNT_QUEUE_URL": on.nats.url,
        "HEADCOUNT_STATE_URL": on.redis.url,
        "HEADCOUNT_SECRET_KEY": SECRET,
        "HEADCOUNT_DEPLOYMENT_NAME": name,
        "HEADCOUNT_DATA_DIR": str(folder),
        "DJANGO_SETTINGS_MODULE": "headcount.site.settings",
    }
    try:
        yield Site(on, {**basic, **IMPATIENCE, **variables}, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def end(site: Site) -> None:
    """Kill every process of a deployment, by its id, until none is left."""

    def none_is_left() -> bool:
        for pid in site.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not site.processes()

    wait_until(none_is_left, "every process of the deployment has ended")


@contextmanager
def up(site: Site) -> Iterator[str]:
    """Run every process of a deployment; yields its address."""
    port = free_port()
    command = ["-m", "headcount", "up", "--distributed", "--port", str(port), "--processes", "1", "--web-workers", "2"]
    with running(site, [sys.executable, *command], port, "up") as url:
        yield url


@contextmanager
def faulty_web_host(site: Site) -> Iterator[str]:
    """Run one more web host of a deployment, whose process suffers armed faults and is replaced when it dies."""
    port = free_port()
    command = [sys.executable, "-m", "tests.distributed.faulty_web", str(port)]
    with running(site.with_faults(), command, port, "faulty-web") as url:
        yield url


@contextmanager
def running(site: Site, command: Sequence[str], port: int, log_name: str) -> Iterator[str]:
    """Run a process until it answers, and kill it in the end; what it started is killed with its site."""
    url = f"http://127.0.0.1:{port}"
    with (site.folder / f"{log_name}.log").open("ab") as log:
        process = subprocess.Popen(command, env=site.environment, cwd=site.folder, stdout=log, stderr=log)
    try:
        wait_until(lambda: process.poll() is not None or answers(url), "the web server answers", START_SECONDS)
        assert process.poll() is None, site.log(log_name)[-3000:]
        yield url
    finally:
        process.kill()
        process.wait(30)


def answers(url: str) -> bool:
    """Whether a web server answers; reading the certificates, which it has none of, would cost more than asking."""
    try:
        return httpx.get(f"{url}/api/v2/openapi.json", timeout=5, verify=False).is_success
    except httpx.TransportError:
        return False


def forget_queues(site: Site) -> None:
    """Take everything of a deployment out of a RabbitMQ that others use too."""
    broker_url = site.variables.get("HEADCOUNT_BROKER_URL", "")
    if not broker_url.startswith("amqp"):
        return
    settings = Settings(deployment_name=site.name)
    with Connection(broker_url) as broker:
        for work_class in CLASSES:
            broker.default_channel.queue_delete(queue_name(settings, work_class))
        Exchange(site.name, channel=broker.default_channel).delete()
