"""The one error tree: every error Headcount raises on purpose is a ``HeadcountError``.

``TemporaryError`` means that the same call may succeed later; ``PermanentError`` means that it will not until
somebody changes something, and its message says what.
"""


class HeadcountError(Exception):
    """The root of every error that Headcount raises on purpose.

    Attributes:
        title: a few words naming the class of problem, the same for every occurrence.
        status: the HTTP status an API answers with when this error reaches its edge.
    """

    title = "Headcount failed"
    status = 500


class TemporaryError(HeadcountError):
    """The same call may succeed later."""

    title = "Temporarily unavailable"
    status = 503


class EngineUnavailableError(TemporaryError):
    """A queue, state manager, dispatcher or database did not answer."""

    title = "An engine does not answer"


class DispatchInterruptedError(TemporaryError):
    """The dispatcher is stopping; the run goes on from here when it is taken up again."""

    title = "The dispatcher is stopping"


class PermanentError(HeadcountError):
    """The same call fails again until somebody changes something."""

    title = "The request cannot be carried out"
    status = 400


class BadInputError(PermanentError):
    """What the caller sent does not fit; the message says what would."""

    title = "The request does not fit"
    status = 422


class ConfigurationError(PermanentError):
    """A setting is wrong; the message names it and a value that works."""

    title = "The configuration is wrong"
    status = 500


class NotFoundError(PermanentError):
    """What the caller names does not exist."""

    title = "Not found"
    status = 404


class ConflictError(PermanentError):
    """The thing named is not in a state that allows the request."""

    title = "The state does not allow it"
    status = 409


class UnauthorizedError(PermanentError):
    """No valid token came with the request."""

    title = "No valid token"
    status = 401


class ForbiddenError(PermanentError):
    """The token is valid but does not allow this."""

    title = "Not allowed"
    status = 403


class TooLargeError(PermanentError):
    """The body is larger than the server reads."""

    title = "The body is too large"
    status = 413


class InvalidLeaseError(PermanentError):
    """A lease token was not issued by this deployment, was altered, or belongs to another job."""

    title = "The lease token is not valid"
    status = 422
