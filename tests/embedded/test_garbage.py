"""A server leaves what it loaded out of its collections, and still frees what is garbage."""

import subprocess
import sys

_SCRIPT = """
import gc, weakref
from headcount.garbage import spare_what_is_loaded

class Node:
    pass

loaded = len(gc.get_objects())
spare_what_is_loaded()
assert gc.get_freeze_count() >= loaded * 0.9, (gc.get_freeze_count(), loaded)
node = Node()
node.itself = node
gone = weakref.ref(node)
del node
kept = [[] for _ in range(60_000)]
assert gone() is None, "a cycle made since is collected by itself"
"""


def test_what_is_loaded_is_spared_and_a_cycle_made_since_is_still_collected() -> None:
    done = subprocess.run([sys.executable, "-c", _SCRIPT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
