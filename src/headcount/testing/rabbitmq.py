"""A private RabbitMQ for tests that restart it: a node of its own beside any other, where the binary is installed."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from headcount.testing.servers import (
    HOST,
    PrivateServer,
    Recipe,
    ServerMissingError,
    answers_as_amqp,
    free_port,
    temporary_directory,
)

_INSTALLED = Path("/usr/lib/rabbitmq/lib")


def rabbitmq_binary() -> Path:
    """Return the start script of the newest RabbitMQ on this machine.

    Raises:
        ServerMissingError: there is none.
    """
    found = sorted(_INSTALLED.glob("rabbitmq_server-*/sbin/rabbitmq-server"))
    if not found:
        raise ServerMissingError("no rabbitmq-server on this machine: apt install rabbitmq-server")
    return found[-1]


@contextmanager
def rabbitmq_server() -> Iterator[PrivateServer]:
    """Run a RabbitMQ node whose durable queues outlive a restart."""
    binary = rabbitmq_binary()
    with temporary_directory("rabbitmq") as directory:
        port = free_port()
        assignments = [f"{name}={text}" for name, text in _variables(directory, port).items()]
        recipe = Recipe(("env", *assignments, str(binary)), lambda: answers_as_amqp(HOST, port))
        server = PrivateServer(f"amqp://guest:guest@{HOST}:{port}//", directory, recipe)
        try:
            server.start()
            yield server
        finally:
            # A node that goes in good order takes ten seconds to do so.
            server.kill()


def _variables(directory: Path, port: int) -> dict[str, str]:
    """Everything that a node would otherwise share with the one of the machine."""
    return {
        "HOME": str(directory),
        "RABBITMQ_NODENAME": f"headcount-{secrets.token_hex(6)}@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": HOST,
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_DIST_PORT": str(free_port()),
        "RABBITMQ_MNESIA_BASE": str(directory / "mnesia"),
        "RABBITMQ_LOG_BASE": str(directory / "log"),
        "RABBITMQ_PID_FILE": str(directory / "pid"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(directory / "plugins"),
        "RABBITMQ_CONF_ENV_FILE": str(directory / "none"),
        "RABBITMQ_CONFIG_FILE": str(directory / "none"),
    }
