"""Checks: what a NATS server can do for a deployment, asked before anything runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from nats.js.api import RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import APIError, NotFoundError

from headcount.clock import Clock
from headcount.engines.nats.connection import NatsConnection, Session
from headcount.engines.nats.names import Names
from headcount.engines.nats.queue import REQUEST_TIMEOUT

OLDEST_SERVER = (2, 9)
TOLERATED_SKEW = timedelta(seconds=2)


@dataclass(frozen=True, slots=True)
class Problem:
    """What stands in the way, and what would help."""

    seen: str
    remedy: str


_JETSTREAM_IS_OFF = Problem("NATS answers, but JetStream is off", "start nats-server with -js -sd DIRECTORY")


@dataclass(frozen=True, slots=True)
class Inspection:
    """What a server says and does.

    Attributes:
        server_version: as the server names it.
        has_jetstream: whether it answers for JetStream.
        clock_skew: how far the server's clock is ahead of ours, None where it could not be measured.
        problems: what stands in the way; empty where nothing does.
    """

    server_version: str
    has_jetstream: bool
    clock_skew: timedelta | None
    problems: tuple[Problem, ...]


def inspect(urls: Sequence[str], deployment_name: str, clock: Clock) -> Inspection:
    """Connect, make a stream in memory and delete it, and look at the deployment's own stream if it is there.

    Raises:
        EngineUnavailableError: no server answers.
    """
    names = Names(deployment_name)
    connection = NatsConnection(urls, name=f"{deployment_name} inspection", timeout=REQUEST_TIMEOUT)

    async def work(session: Session) -> Inspection:
        return await _inspect(session, names, clock)

    try:
        return connection.run(work)
    finally:
        connection.close()


async def _inspect(session: Session, names: Names, clock: Clock) -> Inspection:
    version = session.client.connected_server_version
    problems = []
    if (version.major, version.minor) < OLDEST_SERVER:
        problems.append(Problem(f"NATS is {version.major}.{version.minor}", "install nats-server 2.9 or newer"))
    try:
        skew = await _measure_skew(session, names, clock)
    except APIError as error:
        has_jetstream = await _has_jetstream(session)
        problems.append(_no_stream(error) if has_jetstream else _JETSTREAM_IS_OFF)
        return Inspection(_text(version), has_jetstream, None, tuple(problems))
    if abs(skew) > TOLERATED_SKEW:
        problems.append(
            Problem(f"the clock of NATS is {skew.total_seconds():+.1f} s from ours", "let both hosts follow NTP")
        )
    problems += await _complaints_about_stream(session, names)
    return Inspection(_text(version), has_jetstream=True, clock_skew=skew, problems=tuple(problems))


def _no_stream(error: APIError) -> Problem:
    return Problem(
        f"JetStream makes no stream: {error.description}", "look at the user's permissions and JetStream's limits"
    )


async def _measure_skew(session: Session, names: Names, clock: Clock) -> timedelta:
    """The time a stream was made is the one time that every server since 2.9 tells."""
    config = StreamConfig(name=names.probe, subjects=[f"{names.deployment}.probe"], storage=StorageType.MEMORY)
    before = clock()
    info = await session.manager.add_stream(config)
    after = clock()
    await session.manager.delete_stream(names.probe)
    return _distance(info.created or before, before, after)


def _distance(moment: datetime, earliest: datetime, latest: datetime) -> timedelta:
    """How far a moment lies outside an interval; zero inside it."""
    return max(moment - latest, timedelta(0)) + min(moment - earliest, timedelta(0))


async def _has_jetstream(session: Session) -> bool:
    try:
        await session.manager.account_info()
    except APIError:
        return False
    return True


async def _complaints_about_stream(session: Session, names: Names) -> list[Problem]:
    try:
        info = await session.manager.stream_info(names.stream)
    except NotFoundError:
        return []
    if info.config.retention == RetentionPolicy.WORK_QUEUE and info.config.subjects == [names.subjects]:
        return []
    seen = f"stream {names.stream} is not this deployment's"
    return [Problem(seen, "delete it, or choose another HEADCOUNT_DEPLOYMENT_NAME")]


def _text(version: object) -> str:
    return str(version).removeprefix("<nats server v").removesuffix(">")
