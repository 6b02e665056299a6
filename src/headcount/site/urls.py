"""Where everything is found."""

from django.urls import path
from django.views.generic import RedirectView

from headcount.api.application import api
from headcount.api.metrics import show_metrics
from headcount_images.views import picture

urlpatterns = [
    path("", RedirectView.as_view(url="/api/v2/docs")),
    path("api/v2/", api.urls),
    path("metrics", show_metrics, name="metrics"),
    path("media/images/<int:image_id>", picture, name="picture"),
]
