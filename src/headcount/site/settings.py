"""Django's settings, derived from Headcount's own."""

from pathlib import Path
from typing import Any

import dj_database_url

from headcount.conf import load_settings

HEADCOUNT = load_settings()
_POOL_PATIENCE_SECONDS = 10.0
_POOL_TRIES_SECONDS = 5.0
_PREPARED = {"server_side_binding": True, "prepare_threshold": 5}
"""Parameters travel beside their statement, and one that comes again is planned once for each connection."""

HEADCOUNT_JOB_KINDS = [
    "headcount_images.kinds.detection.DetectionKind",
    "headcount_images.kinds.image_import.ImportImagesKind",
    "headcount_images.kinds.result_export.ExportResultsKind",
]

if HEADCOUNT.chaos_allowed:
    HEADCOUNT_JOB_KINDS.append("headcount.testing.kinds.NoteKind")

SECRET_KEY = HEADCOUNT.effective_secret_key
DEBUG = HEADCOUNT.debug
ALLOWED_HOSTS = HEADCOUNT.allowed_hosts.split(",")
ROOT_URLCONF = "headcount.site.urls"
WSGI_APPLICATION = "headcount.site.wsgi.application"
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.staticfiles",
    "ninja",
    "headcount",
    "headcount.engines.database",
    "headcount.engines.celery",
    "headcount_images",
]
MIDDLEWARE = [
    "headcount.api.middleware.errors_are_problems",
    "django.middleware.common.CommonMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "headcount.api.middleware.trailing_slash_is_optional",
    "headcount.api.middleware.limit_body",
]
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]
USE_TZ = True
TIME_ZONE = "UTC"
APPEND_SLASH = False
STATIC_URL = "/static/"
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = False
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATA_UPLOAD_MAX_MEMORY_SIZE = HEADCOUNT.max_body_bytes
LOGGING_CONFIG = None


def _database() -> dict[str, Any]:
    parsed: dict[str, Any] = dict(dj_database_url.parse(HEADCOUNT.effective_database_url, conn_max_age=None))
    if parsed["ENGINE"].endswith("sqlite3"):
        _prepare_sqlite(parsed)
    elif parsed["ENGINE"].endswith("postgresql"):
        _prepare_postgresql(parsed)
    return parsed


def _prepare_sqlite(parsed: dict[str, Any]) -> None:
    """WAL lets readers go on beside the writer; IMMEDIATE takes the write lock where waiting for it is possible."""
    Path(parsed["NAME"]).parent.mkdir(parents=True, exist_ok=True)
    parsed["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA cache_size=-65536;",
    }


def _prepare_postgresql(parsed: dict[str, Any]) -> None:
    """A pool for each process: a thread takes a connection for a request, or a step, and gives it back.

    Django closes a thread's connection after each request, which with a pool gives it back; one kept for longer would
    be withheld from the others. A connection is tried when it is taken, so that a server that was started again costs
    no request.
    """
    parsed["CONN_MAX_AGE"] = 0
    parsed["CONN_HEALTH_CHECKS"] = True
    pool = {
        "min_size": 0,
        "max_size": HEADCOUNT.database_pool_size,
        "timeout": _POOL_PATIENCE_SECONDS,
        # The pool pauses for longer and longer between two tries; beginning anew keeps the pauses short.
        "reconnect_timeout": _POOL_TRIES_SECONDS,
    }
    parsed["OPTIONS"] = {**parsed.get("OPTIONS", {}), "pool": pool, **_PREPARED}


DATABASES = {"default": _database()}
