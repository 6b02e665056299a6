"""What Linux tells of processes."""

from contextlib import suppress
from pathlib import Path

_ESTABLISHED = "01"


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def connections_at(port: int, pid: int) -> int:
    """How many connections to a port a process has accepted."""
    lines = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    accepted = {words[9] for words in lines if words[1].endswith(f":{port:04X}") and words[3] == _ESTABLISHED}
    return len(accepted & _sockets_of(pid))


def _sockets_of(pid: int) -> set[str]:
    """The inodes of a process's sockets."""
    found = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            found.add(str(entry.readlink()).removeprefix("socket:[").removesuffix("]"))
    return found
