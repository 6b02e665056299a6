"""``headcount demo``: a whole job before your eyes, with real processes and real HTTP."""
