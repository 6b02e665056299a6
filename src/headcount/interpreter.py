"""The interpreter as a server needs it: short turns for its threads, and few garbage collections."""

import gc
import sys

_TURN_SECONDS = 0.0005
_YOUNG_OBJECTS = 50_000
_YOUNG_COLLECTIONS_BEFORE_MIDDLE = 20
_MIDDLE_COLLECTIONS_BEFORE_OLD = 50


def prepare_to_serve() -> None:
    """Set the interpreter up for many threads that mostly wait; call it once, when everything is loaded."""
    # Python's own five milliseconds are what a thread whose answer has come waits for one that computes, and a request
    # has a dozen answers to wait for: from the database, the state manager and the queue.
    sys.setswitchinterval(_TURN_SECONDS)
    spare_what_is_loaded()


def spare_what_is_loaded() -> None:
    """Leave the modules loaded so far out of every later collection, and collect less often.

    A body of fifty results is thousands of objects, none of them in a cycle. With Python's own thresholds each body
    starts a dozen collections, and now and then one that walks every module of the process while it holds the
    interpreter's lock: all requests then wait for tens of milliseconds. Memory that is in no cycle is freed as before.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS, _YOUNG_COLLECTIONS_BEFORE_MIDDLE, _MIDDLE_COLLECTIONS_BEFORE_OLD)
