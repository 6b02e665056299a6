"""Checks: what a NATS server can do for a deployment, asked before anything runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from nats.js.api import AccountLimits, RetentionPolicy, StreamConfig
from nats.js.errors import APIError, NotFoundError

from headcount.clock import Clock
from headcount.engines.nats.connection import NatsConnection, Session
from headcount.engines.nats.names import Names
from headcount.engines.nats.places import MOST_RUNS
from headcount.engines.nats.queue import REQUEST_TIMEOUT

OLDEST_SERVER = (2, 9)
ENOUGH_RUNS = 10_000
"""A deployment that cannot have so many jobs waiting at once is told so."""

TOLERATED_SKEW = timedelta(seconds=2)
_LIMITS_UNLIMITED_STREAMS = (2, 15)
_CONSUMERS_OF_AN_UNLIMITED_STREAM = 1_000
_TIER = "R1"


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
    """Connect, make a stream and delete it, and look at the deployment's own stream if it is there.

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
        limits = await _account_limits(session)
    except APIError:
        return Inspection(_text(version), has_jetstream=False, clock_skew=None, problems=(*problems, _JETSTREAM_IS_OFF))
    try:
        skew = await _measure_skew(session, names, clock)
    except APIError as error:
        problems.append(_no_stream(error, limits))
        return Inspection(_text(version), has_jetstream=True, clock_skew=None, problems=tuple(problems))
    if abs(skew) > TOLERATED_SKEW:
        problems.append(
            Problem(f"the clock of NATS is {skew.total_seconds():+.1f} s from ours", "let both hosts follow NTP")
        )
    problems += await _complaints_about_stream(session, names, limits)
    return Inspection(_text(version), has_jetstream=True, clock_skew=skew, problems=tuple(problems))


async def _account_limits(session: Session) -> AccountLimits | None:
    """Return what the account may have, None where it is not told: the queue itself never asks."""
    try:
        info = await session.manager.account_info()
    except TimeoutError:
        return None
    if info.tiers:
        return info.tiers[_TIER].limits if _TIER in info.tiers else None
    limits: AccountLimits = info.limits
    return limits


def _no_stream(error: APIError, limits: AccountLimits | None) -> Problem:
    if limits is not None and limits.max_storage == 0:
        return Problem("the NATS account may keep nothing on disk", "give the account a max_file above 0")
    return Problem(
        f"JetStream makes no stream: {error.description}", "look at the user's permissions and JetStream's limits"
    )


async def _measure_skew(session: Session, names: Names, clock: Clock) -> timedelta:
    """The time a stream was made is the one time that every server since 2.9 tells."""
    config = StreamConfig(name=names.probe, subjects=[f"{names.deployment}.probe"])
    before = clock()
    info = await session.manager.add_stream(config)
    after = clock()
    await session.manager.delete_stream(names.probe)
    return _distance(info.created or before, before, after)


def _distance(moment: datetime, earliest: datetime, latest: datetime) -> timedelta:
    """How far a moment lies outside an interval; zero inside it."""
    return max(moment - latest, timedelta(0)) + min(moment - earliest, timedelta(0))


async def _complaints_about_stream(session: Session, names: Names, limits: AccountLimits | None) -> list[Problem]:
    of_account = limits.max_consumers if limits is not None else 0
    try:
        config = (await session.manager.stream_info(names.stream)).config
    except NotFoundError:
        return [_refused_consumers(of_account)] if 0 < of_account < MOST_RUNS else []
    if config.retention != RetentionPolicy.WORK_QUEUE or config.subjects != [names.subjects]:
        seen = f"stream {names.stream} is not this deployment's"
        return [Problem(seen, "delete it, or choose another HEADCOUNT_DEPLOYMENT_NAME")]
    if 0 < of_account < ENOUGH_RUNS:
        return [_few_consumers_in_account(of_account)]
    version = session.client.connected_server_version
    of_stream = _consumers_granted(config.max_consumers or 0, (version.major, version.minor))
    return [_few_consumers_in_stream(names, of_stream)] if 0 < of_stream < ENOUGH_RUNS else []


def _consumers_granted(named: int, version: tuple[int, int]) -> int:
    """Return how many consumers the server grants to a stream, 0 for any number."""
    if named <= 0 and version >= _LIMITS_UNLIMITED_STREAMS:
        return _CONSUMERS_OF_AN_UNLIMITED_STREAM
    return max(named, 0)


def _refused_consumers(granted: int) -> Problem:
    return Problem(
        f"the NATS account allows a stream {granted:,} consumers, and this deployment's asks for {MOST_RUNS:,}",
        f"lift the account's max_consumers, or raise it to {MOST_RUNS}",
    )


def _few_consumers_in_account(granted: int) -> Problem:
    return Problem(
        f"the NATS account allows a stream {granted:,} consumers, one for each job that waits",
        "lift the account's max_consumers: further jobs cannot be published",
    )


def _few_consumers_in_stream(names: Names, granted: int) -> Problem:
    return Problem(
        f"stream {names.stream} takes {granted:,} consumers, one for each job that waits: no more can be published",
        f"delete it (nats stream rm {names.stream}): it is made again for {MOST_RUNS:,}, "
        "and the health check puts back what waits",
    )


def _text(version: object) -> str:
    return str(version).removeprefix("<nats server v").removesuffix(">")
