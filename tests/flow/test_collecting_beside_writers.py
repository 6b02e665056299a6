"""Collecting goes on while others write: on SQLite a query left open would make every write of the collector fail."""

import threading

import pytest
from django.db import connection

from headcount.flow.run_job import run_job
from headcount.ports.deployment import Deployment
from headcount.store import jobs
from tests.flow.given import submitted

pytestmark = pytest.mark.django_db(transaction=True)


def write_from_another_connection(name: str) -> None:
    def write() -> None:
        jobs.ensure_project(name)
        connection.close()

    thread = threading.Thread(target=write)
    thread.start()
    thread.join()


def test_a_collection_of_many_pages_is_collected_while_others_write(deployment: Deployment) -> None:
    job = submitted(deployment, 4500)
    writes = 0

    def checkpoint() -> None:
        nonlocal writes
        writes += 1
        write_from_another_connection(f"project {writes}")

    run_job(deployment, job.ref, checkpoint)
    assert writes > 2
    assert jobs.get(job.id).task_total == 4500
