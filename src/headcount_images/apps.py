"""The Django application of the image domain."""

from django.apps import AppConfig


class HeadcountImagesConfig(AppConfig):
    """Names the application."""

    name = "headcount_images"
    label = "headcount_images"
    verbose_name = "Headcount images"
    default_auto_field = "django.db.models.BigAutoField"
