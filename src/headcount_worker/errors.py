"""What can go wrong between a worker and the world, as one tree of exceptions."""


class WorkerError(Exception):
    """The root of every error this package raises on purpose."""


class StartError(WorkerError):
    """The worker cannot start as it was told to: a bad URL, an unknown pipeline, a refused token. Exit code 2."""


class PipelineError(WorkerError):
    """A pipeline gave back something that cannot be a result; the text says what, for the pipeline's author."""


class ServerAwayError(WorkerError):
    """The server cannot answer now; the same request may succeed later.

    ``status`` is the HTTP status if there was one. ``retry_after`` is how many seconds the server asked to be
    left alone, if it did.
    """

    def __init__(self, reason: str, *, status: int | None = None, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.retry_after = retry_after


class NotHeadcountError(ServerAwayError):
    """Something answered that does not speak this API: a proxy's page, a redirect, a portal."""


class RefusedError(WorkerError):
    """The server understood the request and will not take it, however often it is sent (a 4xx answer)."""

    def __init__(self, reason: str, *, status: int) -> None:
        super().__init__(reason)
        self.status = status


class TokenRefusedError(RefusedError):
    """The token is unknown or lacks a right (401, 403); nothing this worker sends can succeed."""


class GoneError(RefusedError):
    """What the request names is unknown to the server (404, 410)."""


class TooLargeError(RefusedError):
    """The request's body is larger than the server takes (413)."""


class UnusableImageError(WorkerError):
    """An image that no retry will bring: missing, forbidden, too large, cut short. The task fails with this reason."""


class UnreachableImageError(WorkerError):
    """An image whose server is away; another try, perhaps by another worker, may bring it. The lease is released."""
