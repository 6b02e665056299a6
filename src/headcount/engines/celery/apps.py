"""The Django application of the Celery dispatcher."""

from django.apps import AppConfig


class CeleryEngineConfig(AppConfig):
    """Names the application; its table begins with ``headcount_celery_``. It needs no Celery to be installed."""

    name = "headcount.engines.celery"
    label = "headcount_celery"
    verbose_name = "Headcount Celery dispatcher"
    default_auto_field = "django.db.models.BigAutoField"
