"""Seeded random faults against a running job, and the check that it ended as it must; ``headcount chaos`` runs it."""
