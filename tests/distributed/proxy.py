"""A TCP proxy in front of a server that others use too, so that a test can cut the connections through it alone."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

from headcount.testing.servers import HOST


class Proxy:
    """Forwards connections until they are cut; while it is closed it takes none."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._listener = socket.create_server((HOST, 0))
        self._lock = threading.Lock()
        self._lines: set[socket.socket] = set()
        self._is_closed = False
        self.times_cut = 0
        self._threads = [threading.Thread(target=self._accept_forever)]
        self._threads[0].start()

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    @property
    def connections(self) -> int:
        with self._lock:
            return len(self._lines) // 2

    def cut(self) -> int:
        """Break every connection and refuse others; returns how many there were."""
        with self._lock:
            self._is_closed = True
            self.times_cut += 1
            cut = len(self._lines) // 2
            for line in self._lines:
                _break(line)
        return cut

    def mend(self) -> None:
        """Take connections again."""
        with self._lock:
            self._is_closed = False

    def end(self) -> None:
        self.cut()
        _break(self._listener)
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _accept_forever(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                self._connect(near)

    def _connect(self, near: socket.socket) -> None:
        try:
            far = socket.create_connection(self._target)
        except OSError:
            near.close()
            return
        for line in (near, far):
            # Small frames one after the other would each wait for the other side's delayed acknowledgement.
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            if self._is_closed:
                near.close()
                far.close()
                return
            self._lines |= {near, far}
        for source, sink in ((near, far), (far, near)):
            self._threads.append(threading.Thread(target=self._forward, args=(source, sink)))
            self._threads[-1].start()

    def _forward(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                sink.sendall(data)
        _break(sink)
        with self._lock:
            self._lines.discard(source)
        source.close()


@contextmanager
def proxied(url: str) -> Iterator[tuple[str, Proxy]]:
    """Put a proxy before the server of a URL; yields the URL that leads through it."""
    address = urlsplit(url)
    proxy = Proxy(address.hostname or HOST, address.port or 5672)
    credentials = address.netloc.rpartition("@")[0]
    try:
        yield address._replace(netloc=f"{credentials}@{HOST}:{proxy.port}").geturl(), proxy
    finally:
        proxy.end()


@contextmanager
def obeying(proxy: Proxy) -> Iterator[int]:
    """Have another process cut and mend a proxy: it writes the word to the descriptor yielded, and reads a byte.

    The proxy is mended in the end.
    """
    near, far = socket.socketpair()

    def obey() -> None:
        with near.makefile() as words:
            for word in words:
                {"cut": proxy.cut, "mend": proxy.mend}[word.strip()]()
                near.sendall(b".")

    thread = threading.Thread(target=obey)
    thread.start()
    try:
        yield far.fileno()
    finally:
        far.close()
        thread.join()
        near.close()
        proxy.mend()


def _break(line: socket.socket) -> None:
    with suppress(OSError):
        line.shutdown(socket.SHUT_RDWR)
