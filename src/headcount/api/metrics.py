"""``GET /metrics``: what this process counts of itself, for Prometheus."""

from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from headcount import metrics


@never_cache
@require_safe
def show_metrics(request: HttpRequest) -> HttpResponse:
    """Answer with every metric as text; nothing in it names a job, a project or a secret."""
    return HttpResponse(metrics.exposition(), content_type=metrics.CONTENT_TYPE)
