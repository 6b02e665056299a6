"""A web host whose process is replaced the moment it dies: ``python -m tests.distributed.faulty_web PORT``.

Granian takes two deaths within seconds for a crash loop and gives up; here dying is what it is for. The listening
socket outlives the processes, so a request that comes between two of them waits.
"""

import os
import signal
import socket
import sys

from waitress import serve

from headcount.parentage import die_with_parent
from headcount.site.wsgi import application

KILLED = "a web process was killed"
"""The line of its log for each."""


def main() -> None:
    listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
    while True:
        child = os.fork()
        if not child:
            die_with_parent()
            serve(application, sockets=[listener], threads=8, _quiet=True)
        if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL:
            print(KILLED, flush=True)


if __name__ == "__main__":
    main()
