"""One repair in each file: each proves its ground anew, changes what it names in one step, and leaves an event.

A repair is called with the deployment, what was observed and the finding that asks for it, by whoever has the turn for
the run (``store.turns``). The observation may be old by then: what a repair rests on, it looks at again. It returns
whether it changed anything.
"""
