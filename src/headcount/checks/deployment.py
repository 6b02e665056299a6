"""All checks of a deployment, in the order in which to put things right."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from urllib.parse import urlsplit

from headcount.checks import database, secrets
from headcount.checks.finding import Finding
from headcount.conf import Settings
from headcount.errors import ConfigurationError, HeadcountError
from headcount.wiring import build, load

Probe = Callable[[Settings], Iterable[Finding]]

_BUILT_IN = frozenset({"database", "embedded"})


@dataclass(frozen=True, slots=True)
class _Server:
    """A server that a URL may name: the variable, and where its checks are; they are loaded with its library."""

    variable: str
    schemes: frozenset[str]
    place: str


_QUEUE = _Server("HEADCOUNT_QUEUE_URL", frozenset({"nats", "tls"}), "headcount.checks.jetstream:probe")
_STATE = _Server("HEADCOUNT_STATE_URL", frozenset({"redis", "rediss", "unix"}), "headcount.checks.redis_state:probe")
_BROKER = _Server(
    "HEADCOUNT_BROKER_URL", frozenset({"amqp", "amqps", "redis", "rediss"}), "headcount.checks.broker:probe"
)


def check_deployment(settings: Settings) -> list[Finding]:
    """Look at everything; a check that cannot be made is a finding too."""
    probes: list[tuple[str, Probe]] = [
        ("database", database.probe),
        ("secret key", secrets.probe),
        ("queue", partial(_probe_server, _QUEUE, settings.queue_url)),
        ("state manager", partial(_probe_server, _STATE, settings.state_url)),
        ("broker", partial(_probe_server, _BROKER, settings.broker_url)),
        ("engines", _build_engines),
    ]
    return [finding for about, probe in probes for finding in _isolated(about, probe, settings)]


def _isolated(about: str, probe: Probe, settings: Settings) -> Iterator[Finding]:
    try:
        yield from probe(settings)
    except ConfigurationError as error:
        yield Finding(about, "the settings do not fit", str(error))
    except HeadcountError as error:
        yield Finding(about, str(error), "start it, or correct its address")
    except Exception as error:  # noqa: BLE001 - a check that fails in a way nobody foresaw must not hide the others
        yield Finding(about, f"the check itself failed: {error!r}", "report this, and look at the server's own log")


def _probe_server(server: _Server, url: str, settings: Settings) -> Iterable[Finding]:
    scheme = urlsplit(url).scheme
    if scheme in _BUILT_IN:
        return []
    if scheme not in server.schemes:
        known = ", ".join(f"{name}://" for name in sorted(server.schemes))
        raise ConfigurationError(f"{server.variable}: no engine is called {scheme!r}; there are {known}")
    found: Iterable[Finding] = load(server.place, f"{server.variable}={scheme}://…")(settings)
    return found


def _build_engines(settings: Settings) -> Iterator[Finding]:
    built = build(settings)
    names = f"queue {built.queue.name}, state manager {built.state.name}, dispatcher {built.dispatcher.name}"
    yield Finding("engines", names)
