"""Check of the secret key: several hosts must share one."""

from collections.abc import Iterator
from urllib.parse import urlsplit

from headcount.checks.finding import Finding
from headcount.conf import Settings


def probe(settings: Settings) -> Iterator[Finding]:
    """Check that a deployment of several processes was given its key."""
    is_distributed = not settings.embedded_dispatch or urlsplit(settings.effective_database_url).scheme != "sqlite"
    if is_distributed and not settings.secret_key:
        seen = "HEADCOUNT_SECRET_KEY is not set: each host makes its own and refuses the lease tokens of the others"
        yield Finding("secret key", seen, "set HEADCOUNT_SECRET_KEY to the same long random text on every host")
    else:
        kept = "set" if settings.secret_key else "kept in the data directory"
        yield Finding("secret key", kept)
