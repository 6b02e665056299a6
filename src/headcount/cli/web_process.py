"""``python -m headcount.cli.web_process LISTENER READY``: one more process that answers requests.

Both arguments are file descriptors: the listening socket, and a pipe that hears a byte once requests are answered.
"""

import os
import signal
import socket
import sys

from django.conf import settings

from headcount.cli import setup  # noqa: F401 - sets Django up, before anything that needs it is loaded
from headcount.cli.web import WebServer
from headcount.logs import configure_logs
from headcount.parentage import die_with_parent


def main() -> None:
    """Answer requests beside the process that started this one, and end with it."""
    die_with_parent()
    listener, ready = map(int, sys.argv[1:])
    configure_logs(as_json=settings.HEADCOUNT.log_json, level=settings.HEADCOUNT.log_level)
    server = WebServer(socket.socket(fileno=listener))
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, server.stop)
    try:
        os.write(ready, b".")
    except BrokenPipeError:  # Whoever started this process ended before it could be told; nothing is begun yet.
        os._exit(1)
    os.close(ready)
    server.run()


if __name__ == "__main__":
    main()
