"""Garbage collection as a server needs it: what a process has loaded is not looked through again and again."""

import gc

_YOUNG_OBJECTS = 50_000
_YOUNG_COLLECTIONS_BEFORE_MIDDLE = 20
_MIDDLE_COLLECTIONS_BEFORE_OLD = 50


def spare_what_is_loaded() -> None:
    """Leave the modules loaded so far out of every later collection, and collect less often; call it once, at start.

    A body of fifty results is thousands of objects, none of them in a cycle. With Python's own thresholds each body
    starts a dozen collections, and now and then one that walks every module of the process while it holds the
    interpreter's lock: all requests then wait for tens of milliseconds. Memory that is in no cycle is freed as before.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG_OBJECTS, _YOUNG_COLLECTIONS_BEFORE_MIDDLE, _MIDDLE_COLLECTIONS_BEFORE_OLD)
