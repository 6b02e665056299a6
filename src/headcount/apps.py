"""The Django application of the engine."""

from django.apps import AppConfig


class HeadcountConfig(AppConfig):
    """Names the engine's application."""

    name = "headcount"
    label = "headcount"
    verbose_name = "Headcount"
    default_auto_field = "django.db.models.BigAutoField"
