"""Batch jobs for remote workers; every task accounted for; every job ends with the right status."""

__version__ = "0.1.0"
