"""Checks of the Redis behind the state manager: does it answer, does it keep what it is given, is it everybody's."""

from collections.abc import Iterator

from headcount.checks.finding import Finding
from headcount.conf import Settings
from headcount.domain.records import JobRef
from headcount.engines.redis.inspection import RedisInspection
from headcount.engines.redis.keys import KeyNames, identity_of
from headcount.errors import EngineUnavailableError

_ABOUT = "state manager"
_NO_JOB = JobRef(0, 0)


def probe(settings: Settings) -> Iterator[Finding]:
    """Check the server behind ``HEADCOUNT_STATE_URL``."""
    identity = identity_of(settings.effective_secret_key)
    names = KeyNames(settings.deployment_name)
    inspection = RedisInspection(settings.state_url, names, identity)
    try:
        yield _policy(inspection)
        yield _index(inspection, identity, names)
    except EngineUnavailableError as error:
        yield Finding(_ABOUT, str(error), "start Redis, or correct HEADCOUNT_STATE_URL")


def _policy(inspection: RedisInspection) -> Finding:
    policy = inspection.memory_policy()
    if policy.may_evict_state:
        seen = f"Redis may drop the state of running jobs (maxmemory-policy {policy.name})"
        return Finding(_ABOUT, seen, "set maxmemory-policy noeviction, or use a Redis that is no cache")
    return Finding(_ABOUT, f"Redis answers and keeps what it is given (maxmemory-policy {policy.name})")


def _index(inspection: RedisInspection, identity: str, names: KeyNames) -> Finding:
    owners = {contents.index: contents.identity for contents in inspection.indexes(_NO_JOB) if contents.identity}
    mine = inspection.index
    elsewhere = sorted(index for index, owner in owners.items() if owner == identity and index != mine)
    if owners.get(mine, identity) != identity:
        seen = f"database index {mine} is used by another deployment called {names.deployment!r}"
        return Finding(
            _ABOUT, seen, "give this one another HEADCOUNT_DEPLOYMENT_NAME, or the same HEADCOUNT_SECRET_KEY"
        )
    if elsewhere and mine not in owners:
        seen = f"this process uses database index {mine}, its peers use {', '.join(map(str, elsewhere))}"
        return Finding(_ABOUT, seen, f"let HEADCOUNT_STATE_URL end in /{elsewhere[0]} on every host")
    if elsewhere:
        seen = f"this deployment has used database index {mine}, and {', '.join(map(str, elsewhere))} as well"
        unused = f"where none does any more: redis-cli -n {elsewhere[0]} DEL {names.identity}"
        return Finding(_ABOUT, seen, f"let HEADCOUNT_STATE_URL end in the same index on every host; {unused}")
    return Finding(_ABOUT, f"database index {mine} is this deployment's")
