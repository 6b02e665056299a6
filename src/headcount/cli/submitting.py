"""``headcount import``, ``submit``, ``cancel`` and ``retry``."""

import json
from pathlib import Path

import click

from headcount.api.storable import storable_document
from headcount.cli import setup
from headcount.cli.output import job_as_json, print_job_line
from headcount.cli.watching import watch_to_the_end
from headcount.domain.records import JobRecord
from headcount.domain.states import DispatchMode, Redo
from headcount.errors import BadInputError
from headcount.flow.cancel import cancel as cancel_job
from headcount.flow.retry import retry as retry_job
from headcount.flow.submit import DEFAULT_FAILURE_THRESHOLD, JobRequest
from headcount.flow.submit import submit as submit_job
from headcount.store.jobs import ensure_project
from headcount.wiring import deployment

_project = click.option("--project", default="default", show_default=True, help="The project, by name.")
_as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for scripts.")
_watch = click.option("--watch", is_flag=True, help="Follow the job to its end; exit 1 unless it is SUCCESS.")


@click.command("import")
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--collection", help="The collection to put the images in.  [default: the folder's name]")
@_project
@_watch
@_as_json
def import_images(directory: Path, collection: str | None, project: str, *, watch: bool, as_json: bool) -> None:
    """Read the image files below DIRECTORY into a collection.

    The work is a job of its own, done by the dispatcher: 'headcount serve' must be running. A file that is no image
    fails as a task with a reason, the others are imported. Importing a folder again brings it up to date.
    """
    setup.prepare_database()
    config = {"directory": str(directory.absolute()), "collection": collection}
    request = JobRequest(ensure_project(project), "import_images", name=f"import {directory.name}", config=config)
    _submit(request, watch=watch, as_json=as_json)


@click.command()
@click.option("--kind", default="ml", show_default=True, help="The job kind.")
@click.option("--pipeline", help="The slug of the pipeline that workers run.")
@click.option("--collection", help="The collection of images to work on (kind ml).")
@click.option("--config", "config_json", default="{}", help="Further configuration of the kind, as a JSON object.")
@click.option("--dispatch-mode", type=click.Choice([mode.value for mode in DispatchMode]), help="Who does the work.")
@click.option(
    "--failure-threshold",
    type=click.FloatRange(0, 1),
    default=DEFAULT_FAILURE_THRESHOLD,
    show_default=True,
    help="The share of failed tasks above which the job is a FAILURE.",
)
@click.option("--fail-fast", is_flag=True, help="End the job as soon as too many tasks have failed.")
@click.option("--priority", type=click.IntRange(-1000, 1000), default=0, show_default=True, help="Higher goes first.")
@click.option("--name", default="", help="What to call the job.")
@_project
@_watch
@_as_json
def submit(  # noqa: PLR0913, PLR0917 - one parameter for each option
    kind: str,
    pipeline: str | None,
    collection: str | None,
    config_json: str,
    dispatch_mode: str | None,
    failure_threshold: float,
    priority: int,
    name: str,
    project: str,
    *,
    fail_fast: bool,
    watch: bool,
    as_json: bool,
) -> None:
    """Submit a job.

    \b
    headcount submit --pipeline light-sheet-blobs --collection night-1 --watch
    headcount submit --kind export_results --config '{"job_id": 7, "format": "csv"}'
    """  # noqa: D301 - click wants the character itself
    setup.prepare_database()
    config = _config(config_json)
    if collection is not None:
        config["collection"] = collection
    request = JobRequest(
        project_id=ensure_project(project),
        kind=kind,
        dispatch_mode=DispatchMode(dispatch_mode) if dispatch_mode else None,
        pipeline=pipeline,
        name=name,
        config=config,
        failure_threshold=failure_threshold,
        priority=priority,
        fail_fast=fail_fast,
    )
    _submit(request, watch=watch, as_json=as_json)


@click.command()
@click.argument("job_id", type=int)
@_as_json
def cancel(job_id: int, *, as_json: bool) -> None:
    """Cancel a running job; what is saved already stays."""
    setup.prepare_database()
    _print(cancel_job(deployment(), job_id), as_json=as_json)


@click.command()
@click.argument("job_id", type=int)
@click.option(
    "--only",
    type=click.Choice([only.value for only in Redo]),
    default=Redo.FAILED.value,
    show_default=True,
    help="What to do again: failed and open tasks, or the cancelled ones too.",
)
@_watch
@_as_json
def retry(job_id: int, only: str, *, watch: bool, as_json: bool) -> None:
    """Take a job that has ended up again, as its next run.

    Only what is not done is done; what is saved stays, and so do the verdicts of earlier runs.
    """
    setup.prepare_database()
    _tell(retry_job(deployment(), job_id, Redo(only)), watch=watch, as_json=as_json)


def _submit(request: JobRequest, *, watch: bool, as_json: bool) -> None:
    _tell(submit_job(deployment(), request), watch=watch, as_json=as_json)


def _tell(job: JobRecord, *, watch: bool, as_json: bool) -> None:
    if watch:
        watch_to_the_end(job.id, as_json=as_json)
    else:
        _print(job, as_json=as_json)


def _print(job: JobRecord, *, as_json: bool) -> None:
    if as_json:
        click.echo(job_as_json(job))
    else:
        print_job_line(job)


def _config(text: str) -> dict[str, object]:
    try:
        config = json.loads(text)
    except json.JSONDecodeError as error:
        raise BadInputError(f"--config is not JSON: {error}") from error
    except RecursionError as error:
        raise BadInputError("--config is nested too deep") from error
    if not isinstance(config, dict):
        raise BadInputError('--config must be a JSON object, such as {"collection": "night-1"}')
    try:
        return storable_document(config)
    except ValueError as error:
        raise BadInputError(f"--config {error}") from error
