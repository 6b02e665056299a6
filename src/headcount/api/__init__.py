"""The HTTP API under ``/api/v2/``."""
