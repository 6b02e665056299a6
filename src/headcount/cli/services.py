"""``headcount service``."""

import json

import click

from headcount.cli import setup
from headcount.clock import system_clock
from headcount.flow.push import service_address
from headcount.store import jobs, registry

_SLUG = r"[A-Za-z0-9][A-Za-z0-9._-]*"


@click.group()
def service() -> None:
    """Name the push services that do sync_api jobs."""


@service.command()
@click.option("--project", default="default", show_default=True, help="The project, by name; made if need be.")
@click.option("--name", required=True, help="What to call the service.")
@click.option("--url", required=True, help="Where it answers; batches go to URL/process.")
@click.option("--pipeline", "slugs", multiple=True, required=True, help="A pipeline it runs; repeat for several.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for scripts.")
def add(project: str, name: str, url: str, slugs: tuple[str, ...], *, as_json: bool) -> None:
    """Name a push service, or change its address.

    \b
    headcount push-server --pipeline headcount_worker.examples.light_sheet_blobs:light_sheet_blobs --port 8100
    headcount service add --name box-1 --url http://box-1:8100 --pipeline light-sheet-blobs
    headcount submit --dispatch-mode sync_api --pipeline light-sheet-blobs --collection night-1
    """  # noqa: D301 - click wants the character itself
    setup.prepare_database()
    address = service_address(url)
    project_id = jobs.ensure_project(project)
    registry.add_push_service(project_id, name, address, slugs, system_clock())
    if as_json:
        click.echo(json.dumps({"project_id": project_id, "name": name, "url": address, "pipelines": list(slugs)}))
    else:
        click.echo(f"sync_api jobs for {', '.join(slugs)} go to {address}")
