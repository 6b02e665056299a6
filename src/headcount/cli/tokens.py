"""``headcount token``."""

import json

import click

from headcount.cli import setup
from headcount.domain.states import Scope
from headcount.store import jobs, tokens


@click.group()
def token() -> None:
    """Make the credentials that workers and scripts need."""


@token.command()
@click.option("--name", default="", help="What it is for, for people.")
@click.option("--project", default="default", show_default=True, help="The project it is bound to; made if need be.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice([scope.value for scope in Scope]),
    default=("work",),
    show_default=True,
    help="What it allows; repeat for several.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON for scripts.")
def create(name: str, project: str, scopes: tuple[str, ...], *, as_json: bool) -> None:
    """Make a token and print it once; only a digest of it is kept.

    \b
    headcount token create --name gpu-box-1                      for a worker
    headcount token create --scope submit --scope read           for a script
    """  # noqa: D301 - click wants the character itself
    setup.prepare_database()
    project_id = jobs.ensure_project(project)
    secret = tokens.create(project_id, name or "+".join(scopes), [Scope(scope) for scope in scopes])
    shown = json.dumps({"token": secret, "project_id": project_id, "scopes": scopes}) if as_json else secret
    click.echo(shown)
