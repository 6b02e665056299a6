"""Where this deployment is reached."""

from urllib.parse import urlsplit

from django.http import HttpRequest

from headcount.wiring import deployment


def base_url(request: HttpRequest) -> str:
    """Return the address that workers reach, without a final slash: as configured, else that of the request."""
    configured = deployment().settings.public_url.rstrip("/")
    if configured:
        return configured
    parts = urlsplit(request.build_absolute_uri("/"))
    return f"{parts.scheme}://{parts.netloc}"
