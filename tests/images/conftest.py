"""Folders of good and bad image files, and jobs over them."""

import os

import pytest
from PIL import Image as Picture

from headcount.flow.run_job import run_job
from headcount.flow.submit import JobRequest, submit
from headcount.models import Task
from headcount.store import jobs
from tests.flow import given


@pytest.fixture
def project_id(db):
    return given.project()


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "night"
    made.mkdir()
    return made


def draw(path, size=(64, 48), **options):
    """Write an image file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Picture.effect_noise(size, 50).convert("RGB").save(path, **options)
    return path


def draw_truncated(path, keep):
    """Write an image file of which only the first bytes came through."""
    draw(path)
    path.write_bytes(path.read_bytes()[:keep])
    return path


def named_in_bytes(folder, name):
    """A path whose name is no UTF-8."""
    return folder / os.fsdecode(name)


@pytest.fixture
def imported(deployment, project_id):
    """Import a folder; returns the job as it ended."""

    def run(directory, **config):
        request = JobRequest(project_id, "import_images", config={"directory": str(directory), **config})
        job = submit(deployment, request)
        run_job(deployment, job.ref)
        return jobs.get(job.id)

    return run


def errors_of(job):
    """The reason of each failed task, by key."""
    return dict(Task.objects.filter(job_id=job.id, state="failed").values_list("key", "error"))
