"""The Django application of the database engines."""

from django.apps import AppConfig


class DatabaseEnginesConfig(AppConfig):
    """Names the application; its tables begin with ``headcount_database_``."""

    name = "headcount.engines.database"
    label = "headcount_database"
    verbose_name = "Headcount database engines"
    default_auto_field = "django.db.models.BigAutoField"
