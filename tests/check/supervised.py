"""``python -m tests.check.supervised DIRECTORY``: a supervisor with two children, for its test to ill-treat."""

import sys
from datetime import timedelta

from headcount.cli.supervisor import Child, Supervisor

# Each has a child of its own, which ends with nobody but its group; both say who they are, line by line.
PROGRAM = """
import os, pathlib, signal, subprocess, sys
grandchild = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
with pathlib.Path(sys.argv[1]).open("a") as file:
    file.write(f"{os.getpid()} {grandchild.pid}\\n")
signal.signal(signal.SIGTERM, lambda *_: (grandchild.terminate(), grandchild.wait(), sys.exit(0)))
while True:
    signal.pause()
"""

if __name__ == "__main__":
    names = ("one", "two")
    children = [Child(name, (sys.executable, "-c", PROGRAM, f"{sys.argv[1]}/{name}")) for name in names]
    Supervisor(children, patience=timedelta(seconds=10)).run()
