"""Bring an image to the worker, or say in words a person understands why it did not come."""

from collections.abc import Callable
from http import HTTPStatus
from threading import Event
from typing import Final
from urllib.parse import urljoin

import httpx

from headcount_worker.answers import TEMPORARY, retry_after_seconds
from headcount_worker.backoff import Backoff
from headcount_worker.client import CONNECT_SECONDS, in_words
from headcount_worker.clock import SYSTEM_CLOCK, Clock
from headcount_worker.errors import UnreachableImageError, UnusableImageError
from headcount_worker.settings import MEGABYTE, WorkerSettings

TRIES: Final = 5
READ_SECONDS: Final = 60.0
BACKOFF: Final = Backoff(first=0.5, longest=8.0)

REASONS: dict[int, str] = {
    HTTPStatus.UNAUTHORIZED: "the image's server wants a login",
    HTTPStatus.FORBIDDEN: "the image's server refuses to hand it out",
    HTTPStatus.NOT_FOUND: "there is no image at this address",
    HTTPStatus.GONE: "the image is no longer at this address",
}


class TryAgainError(Exception):
    """A try failed in a way that another may not; ``then`` makes the error to raise when no try is left."""

    def __init__(
        self, reason: str, then: Callable[[str], Exception] = UnreachableImageError, retry_after: float | None = None
    ) -> None:
        super().__init__(reason)
        self.then = then
        self.retry_after = retry_after


class Downloader:
    """Fetches images over HTTP. Safe to share between threads; stops early once ``stopping`` is set.

    The token is sent to the Headcount server itself and to nobody else.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        stopping: Event,
        clock: Clock = SYSTEM_CLOCK,
        backoff: Backoff = BACKOFF,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._settings = settings
        self._stopping = stopping
        self._clock = clock
        self._backoff = backoff
        self._http = httpx.Client(
            timeout=httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS), follow_redirects=True, transport=transport
        )

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def fetch(self, address: str) -> bytes:
        """Give the bytes at the address, trying again while its server is away.

        Raises UnusableImageError when no retry will bring the image, and UnreachableImageError when its server stayed
        away or the worker is stopping.
        """
        url = self._url(address)
        for failures in range(1, TRIES + 1):
            if self._stopping.is_set():
                break
            try:
                return self._fetch_once(url)
            except TryAgainError as error:
                if failures == TRIES:
                    raise error.then(f"{error} ({shown(url)}, after {TRIES} tries)") from error
                self._clock.wait(self._stopping, self._backoff.delay(failures, error.retry_after))
        raise UnreachableImageError("the worker is stopping")

    def _url(self, address: str) -> httpx.URL:
        try:
            url = httpx.URL(urljoin(self._settings.server + "/", address))
        except (httpx.InvalidURL, ValueError) as error:
            raise UnusableImageError(f"the image's address is not a URL: {address[:200]}") from error
        if url.scheme not in {"http", "https"} or not url.host:
            raise UnusableImageError(f"the image's address is not an HTTP URL: {address[:200]}")
        return url

    def _fetch_once(self, url: httpx.URL) -> bytes:
        try:
            with self._http.stream("GET", url, headers=self._headers(url)) as response:
                self._check(response, url)
                return self._body(response, url)
        except (httpx.TooManyRedirects, httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
            raise UnusableImageError(f"the image's address leads nowhere: {error} ({shown(url)})") from error
        except httpx.RequestError as error:
            raise TryAgainError(f"the image's server is away: {in_words(error)}") from error

    def _headers(self, url: httpx.URL) -> dict[str, str]:
        server = httpx.URL(self._settings.server)
        same = (url.scheme, url.host, url.port) == (server.scheme, server.host, server.port)
        return {"Authorization": f"Bearer {self._settings.token}"} if same else {}

    def _check(self, response: httpx.Response, url: httpx.URL) -> None:
        status = response.status_code
        if response.is_success:
            return
        if response.is_server_error or status in TEMPORARY:
            wait = retry_after_seconds(response, self._clock.now())
            raise TryAgainError(f"the image's server is away: it answers {status}", retry_after=wait)
        reason = REASONS.get(status, "the image's server does not hand it out")
        raise UnusableImageError(f"{reason} ({status}, {shown(url)})")

    def _body(self, response: httpx.Response, url: httpx.URL) -> bytes:
        content = bytearray()
        try:
            for chunk in response.iter_bytes():
                content += chunk
                self._check_progress(len(content), url)
        except httpx.DecodingError as error:
            raise UnusableImageError(f"the image's compression is broken ({shown(url)})") from error
        except (httpx.RemoteProtocolError, httpx.ReadError) as error:
            reason = f"the image was cut short after {len(content)} bytes: {in_words(error)}"
            raise TryAgainError(reason, then=UnusableImageError) from error
        if not content:
            raise UnusableImageError(f"the image is empty, 0 bytes ({shown(url)})")
        return bytes(content)

    def _check_progress(self, received: int, url: httpx.URL) -> None:
        if self._stopping.is_set():
            raise UnreachableImageError("the worker is stopping")
        limit = self._settings.image_limit_bytes
        if received > limit:
            raise UnusableImageError(f"the image is larger than {limit / MEGABYTE:g} MB ({shown(url)})")


def shown(url: httpx.URL) -> str:
    """Give the address as a reason may show it: without the query, which carries the signature of signed URLs."""
    return str(url.copy_with(query=None, fragment=None, userinfo=b""))
