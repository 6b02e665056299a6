from collections import deque
from threading import Event

import httpx
import pytest
from worker_fakes import PIXELS

from headcount_worker.download import Downloader
from headcount_worker.errors import UnreachableImageError, UnusableImageError
from headcount_worker.settings import WorkerSettings

ADDRESS = "http://images.test/1?signature=secret"


class Cut(httpx.SyncByteStream):
    """A body that breaks off."""

    def __init__(self, error):
        self._error = error

    def __iter__(self):
        yield b"half"
        raise self._error


@pytest.fixture
def stopping():
    return Event()


@pytest.fixture
def make(settings, stopping, clock):
    made = []

    def make(answer, settings=settings):
        downloader = Downloader(settings, stopping, clock, transport=httpx.MockTransport(answer))
        made.append(downloader)
        return downloader

    yield make
    for downloader in made:
        downloader.close()


@pytest.fixture
def fetch(make):
    def fetch(*answers, address=ADDRESS):
        """Fetch from a server that gives these answers, the last of them for ever."""
        given = deque(answers)

        def answer(_request):
            fetch.requests += 1
            reply = given.popleft() if len(given) > 1 else given[0]
            if isinstance(reply, Exception):
                raise reply
            return reply

        fetch.requests = 0
        return make(answer).fetch(address)

    return fetch


def test_an_image_comes(fetch):
    assert fetch(httpx.Response(200, content=PIXELS)) == PIXELS


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (404, "there is no image at this address (404, http://images.test/1)"),
        (403, "refuses to hand it out (403"),
        (401, "wants a login (401"),
        (410, "no longer at this address"),
        (418, "does not hand it out (418"),
        (304, "does not hand it out (304"),
    ],
)
def test_what_the_images_server_refuses_is_final(fetch, status, words):
    with pytest.raises(UnusableImageError) as caught:
        fetch(httpx.Response(status))
    assert words in str(caught.value)
    assert "secret" not in str(caught.value)
    assert fetch.requests == 1


@pytest.mark.parametrize(
    "passing",
    [
        httpx.ConnectError("refused"),
        httpx.ReadTimeout(""),
        httpx.Response(503),
        httpx.Response(500),
        httpx.Response(429),
        httpx.Response(200, stream=Cut(httpx.RemoteProtocolError("peer closed connection"))),
        httpx.Response(200, stream=Cut(httpx.ReadTimeout("slow"))),
    ],
)
def test_what_may_pass_is_tried_again(fetch, passing, clock):
    assert fetch(passing, httpx.Response(200, content=PIXELS)) == PIXELS
    assert fetch.requests == 2
    assert 0.25 <= clock.waits[0] <= 0.5


@pytest.mark.parametrize("passing", [httpx.ConnectError("refused"), httpx.Response(503), httpx.ReadTimeout("")])
def test_an_image_whose_server_stays_away_is_unreachable(fetch, passing, clock):
    with pytest.raises(UnreachableImageError, match=r"is away.*after 5 tries"):
        fetch(passing)
    assert (fetch.requests, len(clock.waits)) == (5, 4)


def test_an_image_that_is_always_cut_short_is_unusable(make):
    def answer(_request):
        return httpx.Response(200, stream=Cut(httpx.RemoteProtocolError("peer closed connection")))

    with pytest.raises(UnusableImageError, match="cut short after 4 bytes"):
        make(answer).fetch(ADDRESS)


def test_retry_after_is_honoured(fetch, clock):
    fetch(httpx.Response(503, headers={"retry-after": "40"}), httpx.Response(200, content=PIXELS))
    assert clock.waits == [40]


def test_an_empty_image_is_unusable(fetch):
    with pytest.raises(UnusableImageError, match="empty"):
        fetch(httpx.Response(200))


def test_broken_compression_is_unusable(make):
    def answer(_request):
        return httpx.Response(200, headers={"content-encoding": "gzip"}, stream=httpx.ByteStream(b"not gzip"))

    with pytest.raises(UnusableImageError, match="compression"):
        make(answer).fetch(ADDRESS)


def test_a_giant_image_is_not_taken_in(make):
    small = WorkerSettings(server="http://server.test", token="t", image_limit_bytes=3_000_000)
    taken = []

    def chunks():
        for number in range(100):
            taken.append(number)
            yield bytes(1_000_000)

    with pytest.raises(UnusableImageError, match="larger than 3 MB"):
        make(lambda _request: httpx.Response(200, content=chunks()), small).fetch(ADDRESS)
    assert len(taken) <= 5


@pytest.mark.parametrize("address", ["file:///etc/passwd", "ftp://images.test/1", "http://[", "data:,x"])
def test_what_is_no_http_address_is_unusable(fetch, address):
    with pytest.raises(UnusableImageError, match="address"):
        fetch(httpx.Response(200, content=PIXELS), address=address)
    assert fetch.requests == 0


@pytest.mark.parametrize("target", ["file:///etc/passwd", "http://images.test/1"])
def test_a_redirect_that_leads_nowhere_is_unusable(make, target):
    with pytest.raises(UnusableImageError, match="leads nowhere"):
        make(lambda _request: httpx.Response(302, headers={"location": target})).fetch("http://images.test/1")


@pytest.mark.parametrize(
    ("address", "token"),
    [
        ("/media/1", "Bearer right-token"),
        ("http://server.test/media/1", "Bearer right-token"),
        ("http://server.test.evil.test/media/1", None),
        ("https://server.test/media/1", None),
        ("http://images.test/1", None),
    ],
)
def test_the_token_goes_to_the_server_and_to_nobody_else(make, address, token):
    seen = []

    def answer(request):
        seen.append(request.headers.get("authorization"))
        return httpx.Response(200, content=PIXELS)

    make(answer).fetch(address)
    assert seen == [token]


def test_the_token_does_not_follow_a_redirect_elsewhere(make):
    seen = {}

    def answer(request):
        seen[request.url.host] = request.headers.get("authorization")
        if request.url.host == "server.test":
            return httpx.Response(302, headers={"location": "http://images.test/1"})
        return httpx.Response(200, content=PIXELS)

    make(answer).fetch("/media/1")
    assert seen == {"server.test": "Bearer right-token", "images.test": None}


def test_a_stopping_worker_does_not_begin_to_download(fetch, stopping):
    stopping.set()
    with pytest.raises(UnreachableImageError, match="stopping"):
        fetch(httpx.Response(200, content=PIXELS))
    assert fetch.requests == 0


def test_a_stopping_worker_breaks_off_a_download(make, stopping):
    def chunks():
        yield b"1"
        stopping.set()
        yield b"2"

    with pytest.raises(UnreachableImageError, match="stopping"):
        make(lambda _request: httpx.Response(200, content=chunks())).fetch(ADDRESS)
