"""The Django project: settings, URLs, servers."""
