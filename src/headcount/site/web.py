"""The WSGI application as worker processes of a web server run it: ``granian headcount.site.web:application``."""

from django.conf import settings
from django.urls import get_resolver

from headcount.interpreter import prepare_to_serve
from headcount.logs import configure_logs
from headcount.parentage import die_with_parent
from headcount.site.wsgi import application

__all__ = ["application"]

configure_logs(as_json=settings.HEADCOUNT.log_json, level=settings.HEADCOUNT.log_level)
# A server that is killed would leave its workers on the port, and its successor could not listen there.
die_with_parent()
# Django loads the views with the first request otherwise.
_ = get_resolver().url_patterns
prepare_to_serve()
