"""How the processes of one worker learn that it is to end."""

import mmap


class StopSign:
    """A sign that is seen by every process forked after it was made: one byte of shared memory."""

    def __init__(self) -> None:
        self._page = mmap.mmap(-1, 1)

    @property
    def is_raised(self) -> bool:
        """Whether the worker is to end."""
        return self._page[0] != 0

    def put_up(self) -> None:
        """Raise the sign, for good."""
        self._page[0] = 1


STOP_SIGN = StopSign()
"""Of this worker: made when the module is loaded, which is before its processes are forked."""
