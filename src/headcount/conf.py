"""The settings of a deployment: read once from ``HEADCOUNT_*`` environment variables, frozen from then on."""

import os
import re
import secrets
from contextlib import suppress
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from headcount.errors import ConfigurationError

DATABASE_ENGINE_URL = "database://"
"""The URL of the queue and state engines that live in the database itself."""

EMBEDDED_BROKER_URL = "embedded://"
"""The URL of the dispatcher that runs inside ``headcount serve``."""

_SECRET_BYTES = 48
_PASSWORD_IN_A_URL = re.compile(r"://.*@")


def _number_of_seconds(value: object) -> object:
    """Return a bare number as one; pydantic takes numbers as seconds, but not where they are text."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


Duration = Annotated[timedelta, BeforeValidator(_number_of_seconds)]


class Settings(BaseSettings):
    """What a deployment is made of and how patient it is.

    The four URLs choose the engines and nothing else does. Durations are ISO 8601 or seconds in the environment.
    """

    model_config = SettingsConfigDict(env_prefix="HEADCOUNT_", frozen=True, extra="ignore")

    data_dir: Path = Field(Path("headcount-data"), description="Where the embedded deployment keeps its files.")
    database_url: str = Field(
        "", repr=False, description="sqlite:///path or postgresql://…; empty: SQLite in the data directory."
    )
    database_pool_size: int = Field(32, ge=1, description="Connections a process holds to PostgreSQL, at most.")
    queue_url: str = Field(DATABASE_ENGINE_URL, repr=False, description="database:// or nats://host:port[,nats://…].")
    state_url: str = Field(
        DATABASE_ENGINE_URL, repr=False, description="database://, redis://host:port/index or unix://path?db=index."
    )
    broker_url: str = Field(EMBEDDED_BROKER_URL, repr=False, description="embedded://, amqp://… or redis://….")
    deployment_name: str = Field("headcount", pattern=r"^[a-z][a-z0-9_-]{0,30}$", description="Prefix of all names.")

    secret_key: str = Field("", repr=False, description="Signs lease tokens; empty: a key file in the data directory.")
    debug: bool = False
    chaos_allowed: bool = Field(
        default=False, description="Whether `headcount chaos --deployment here` may break this deployment."
    )
    log_json: bool = Field(default=False, description="Log JSON lines, in processes that take no --log-json.")
    log_level: Literal["debug", "info", "warning"] = Field(
        "info", description="The least level that is logged; `debug` has a snapshot of every running job at each tick."
    )
    allowed_hosts: str = Field("*", description="Comma-separated host names the web server answers to.")
    public_url: str = Field("", description="The address workers reach; empty: the address of each request.")

    ack_wait: Duration = Field(timedelta(seconds=30), gt=timedelta(0), description="How long a lease lasts.")
    max_attempts: int = Field(5, ge=1, description="How often a task is handed out before it fails as lost.")
    dispatch_lease: Duration = Field(timedelta(seconds=10), gt=timedelta(0), description="Heartbeat limit of dispatch.")
    dispatch_attempts: int = Field(10, ge=1, description="How often a dispatch is resumed before its job is revoked.")
    push_timeout: Duration = Field(
        timedelta(minutes=5), gt=timedelta(0), description="How long a push service may take for one batch."
    )
    stalled_after: Duration = Field(timedelta(minutes=10), gt=timedelta(0), description="No progress for this long.")
    revoke_without_workers_after: Duration = Field(
        timedelta(hours=24), gt=timedelta(0), description="No worker of its pipeline for this long ends a waiting job."
    )
    health_interval: Duration = Field(timedelta(seconds=60), gt=timedelta(0), description="Between health ticks.")
    zombie_safety_age: Duration = Field(
        timedelta(hours=1), ge=timedelta(0), description="How long engines keep what a finished or unknown job left."
    )
    witness_timeout: Duration = Field(
        timedelta(seconds=5), gt=timedelta(0), description="How long a health check waits for what each engine says."
    )
    workers_seen_within: Duration = Field(
        timedelta(minutes=5), gt=timedelta(0), description="A worker with no sign of life for this long counts as gone."
    )
    max_body_bytes: int = Field(16 * 2**20, gt=0, description="Larger request bodies are refused with 413.")
    max_batch: int = Field(500, ge=1, description="Tasks per claim and results per post, at most.")
    max_wait_seconds: float = Field(30.0, ge=0, description="The longest a claim waits for tasks.")

    @property
    def longest_lease(self) -> timedelta:
        """The longest that a lease can have left on any host, clocks that differ a little included.

        One that ends later than that was begun by a clock that has been set back since, and counts as ended.
        """
        return max(self.ack_wait, self.push_timeout) + self.ack_wait

    @cached_property
    def effective_database_url(self) -> str:
        """The database URL with the embedded default filled in."""
        return self.database_url or f"sqlite:///{(self.data_dir / 'headcount.sqlite3').absolute()}"

    @property
    def embedded_dispatch(self) -> bool:
        """Whether ``headcount serve`` itself runs the dispatcher."""
        return urlsplit(self.broker_url).scheme == urlsplit(EMBEDDED_BROKER_URL).scheme

    @cached_property
    def effective_secret_key(self) -> str:
        """The signing key, made and kept in the data directory on first use when none is set."""
        return self.secret_key or _read_or_make_secret(self.data_dir / "secret.key")


def load_settings() -> Settings:
    """Read the settings from the environment.

    Raises:
        ConfigurationError: a variable does not fit; the message names it.
    """
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        variable = "HEADCOUNT_" + str(first["loc"][0]).upper()
        given = _without_secrets(variable, str(os.environ.get(variable, first["input"])))
        # Neither the error nor its cause may reach a log: both quote what was given.
        raise ConfigurationError(f"{variable}: {first['msg']} (got {given!r})") from None


def _without_secrets(variable: str, given: str) -> str:
    """A password in a URL, and whatever was meant as a key, is told to nobody."""
    if variable == "HEADCOUNT_SECRET_KEY":
        return "…"
    return _PASSWORD_IN_A_URL.sub("://…@", given)


def _read_or_make_secret(path: Path) -> str:
    """Linking a whole file into place leaves no moment in which another process reads half a key."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
        draft.touch(mode=0o600)
        draft.write_text(secrets.token_urlsafe(_SECRET_BYTES))
        with suppress(FileExistsError):
            os.link(draft, path)
        draft.unlink()
    return path.read_text()
