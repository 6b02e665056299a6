"""The dispatcher on Celery: runs travel through a broker to worker processes; a table remembers each of them."""
