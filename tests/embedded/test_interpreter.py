"""A server leaves what it loaded out of its collections, still frees what is garbage, and gives threads short turns."""

import subprocess
import sys

_SCRIPT = """
import gc, sys, weakref
from headcount.interpreter import prepare_to_serve

class Node:
    pass

loaded = len(gc.get_objects())
prepare_to_serve()
assert sys.getswitchinterval() < 0.001
assert gc.get_freeze_count() >= loaded * 0.9, (gc.get_freeze_count(), loaded)
node = Node()
node.itself = node
gone = weakref.ref(node)
del node
kept = [[] for _ in range(60_000)]
assert gone() is None, "a cycle made since is collected by itself"
"""


def test_what_is_loaded_is_spared_a_cycle_made_since_is_collected_and_turns_are_short() -> None:
    done = subprocess.run([sys.executable, "-c", _SCRIPT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
