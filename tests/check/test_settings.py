"""Settings from the environment: what fits is read, what does not is told in a line that gives no secret away."""

import subprocess
import traceback
from datetime import timedelta
from pathlib import Path

import pytest

from headcount.conf import Settings, load_settings
from headcount.errors import ConfigurationError
from headcount.testing.servers import redis_binary
from headcount.testing.waiting import wait_until
from tests.check.test_check import run_check

PASSWORD = "hunter2"
URLS = ("database_url", "queue_url", "state_url", "broker_url")


@pytest.mark.parametrize(
    ("given", "read"),
    [("30", 30), ("1.0", 1), ("0.25", 0.25), ("PT5M", 300), ("PT1.5S", 1.5), ("P1DT1S", 86401), ("00:01:30", 90)],
)
def test_a_duration_is_seconds_or_iso_8601(monkeypatch: pytest.MonkeyPatch, given: str, read: float) -> None:
    monkeypatch.setenv("HEADCOUNT_ACK_WAIT", given)
    assert load_settings().ack_wait == timedelta(seconds=read)


@pytest.mark.parametrize("given", ["", "soon", "nan", "inf", "-1", "0", "1e99", "PT"])
def test_what_is_no_duration_is_refused_by_the_name_of_its_variable(
    monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    monkeypatch.setenv("HEADCOUNT_ACK_WAIT", given)
    with pytest.raises(ConfigurationError, match=f"^HEADCOUNT_ACK_WAIT: .*got {given!r}"):
        load_settings()


@pytest.mark.parametrize(
    "given",
    [
        f"amqp://guest:{PASSWORD}@host//",
        f"nats://a:{PASSWORD}@one,nats://b:{PASSWORD}@two",
        f"redis://:{PASSWORD}@host/0",
        f"postgresql://me:{PASSWORD}/@x@host/db",
    ],
)
def test_a_url_in_the_wrong_variable_is_told_without_its_password(monkeypatch: pytest.MonkeyPatch, given: str) -> None:
    monkeypatch.setenv("HEADCOUNT_DEPLOYMENT_NAME", given)
    with pytest.raises(ConfigurationError, match=r"^HEADCOUNT_DEPLOYMENT_NAME: .*://…@") as caught:
        load_settings()
    assert PASSWORD not in "".join(traceback.format_exception(caught.value))


def test_settings_that_are_printed_show_no_password() -> None:
    told = Settings(secret_key=PASSWORD, **dict.fromkeys(URLS, f"x://me:{PASSWORD}@host/0"))
    assert PASSWORD not in repr(told) + str(told)


def test_a_redis_on_a_unix_socket_is_a_state_manager(tmp_path: Path) -> None:
    socket = tmp_path / "redis.sock"
    command = [redis_binary(), "--port", "0", "--unixsocket", socket, "--save", "", "--dir", tmp_path]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        wait_until(socket.exists, "Redis answers")
        done = run_check(
            HEADCOUNT_DATA_DIR=str(tmp_path), HEADCOUNT_DATABASE_URL="", HEADCOUNT_STATE_URL=f"unix://{socket}?db=3"
        )
    finally:
        server.terminate()
        server.wait(10)
    assert "database index 3 is this deployment's" in done.stdout
    assert "state manager redis" in done.stdout
