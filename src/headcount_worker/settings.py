"""What a worker is told when it starts."""

import os
import secrets
import socket
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

import httpx

from headcount_worker.errors import StartError

API_PATH: Final = "/api/v2"
MEGABYTE: Final = 1_000_000


def worker_identity() -> str:
    """Give a name that no other worker process has: host, process and a few random letters."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(2)}"


@dataclass(frozen=True)
class WorkerSettings:
    """How one worker behaves; every time is in seconds.

    ``wait_seconds`` is how long an idle claim waits for tasks, and so how long an idle worker takes to stop.
    ``unposted_limit`` is how many computed results may wait for the server before no more tasks are claimed.
    ``linger_seconds`` is how long a result waits for others to be posted with.
    ``drain_seconds`` is how long a stopping worker tries to post what it has computed. ``exit_when_idle`` ends the
    worker after so long without a task; ``once`` ends it after one batch.
    """

    server: str
    token: str = field(repr=False)
    service_name: str = field(default_factory=socket.gethostname)
    worker: str = field(default_factory=worker_identity)
    batch_size: int = 8
    wait_seconds: float = 5.0
    unposted_limit: int = 500
    linger_seconds: float = 0.5
    drain_seconds: float = 120.0
    exit_when_idle: float | None = None
    once: bool = False
    image_limit_bytes: int = 256 * MEGABYTE
    download_threads: int = 4


def server_address(text: str) -> str:
    """Give the server's address without a trailing slash or API path; raises StartError when it is not an HTTP URL."""
    try:
        # urlsplit knows a broken IPv6 address when it sees one, httpx knows the rest.
        urlsplit(text.strip())
        url = httpx.URL(text.strip())
    except (httpx.InvalidURL, ValueError) as error:
        raise StartError(f"the server URL {text!r} is not a URL: {error}") from error
    if url.scheme not in {"http", "https"} or not url.host:
        raise StartError(f"the server URL {text!r} must look like https://headcount.example.org")
    return str(url.copy_with(query=None, fragment=None)).rstrip("/").removesuffix(API_PATH)


def usable_token(text: str) -> str:
    """Give the token without surrounding space; raises StartError when it could not stand in an HTTP header."""
    token = text.strip()
    if not token:
        raise StartError("no token: give --token, or set HEADCOUNT_TOKEN")
    if not token.isascii() or not token.isprintable() or " " in token:
        raise StartError("the token contains characters that no token has")
    return token
