"""What compose.yaml and the deployment guide tell people to run exists, option by option."""

import re
import shlex
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from celery.bin.celery import celery
from granian.cli import cli as granian

from headcount.cli.main import headcount
from headcount.conf import Settings
from headcount.engines.celery.application import CLASSES, queue_name
from headcount_worker.push_server import push_server

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
GUIDE = (ROOT / "docs/how-to/deploy.md").read_text()
COMMANDS: dict[str, click.Command] = {
    "headcount": headcount,
    "celery": celery,
    "granian": granian,
    "headcount-push-server": push_server,
}
DEFAULTS = Settings()


def guide_commands() -> list[list[str]]:
    blocks = re.findall(r"^```sh\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if line and not line.startswith("#")]
    commands = [shlex.split(line) for line in lines]
    return [command for command in commands if command[0] in COMMANDS]


def compose_commands() -> dict[str, list[str]]:
    services = COMPOSE["services"].items()
    return {name: service["command"] for name, service in services if "build" in service}


def last_of(words: list[str]) -> tuple[click.Command, dict[str, Any]]:
    """Read a command line as its program would; returns the last subcommand with the options given to it.

    Raises:
        click.UsageError: there is no such subcommand, option or value.
    """
    command, rest = COMMANDS[words[0]], words[1:]
    while True:
        context = click.Context(command, info_name=command.name)
        options, rest, _ = command.make_parser(context).parse_args(args=list(rest))
        if not isinstance(command, click.Group):
            assert not [word for word in rest if word.startswith("-")]
            return command, options
        name, command, rest = command.resolve_command(context, rest)
        assert command is not None, name


def queues_of(commands: list[list[str]]) -> set[str]:
    served = [last_of(words) for words in commands if words[0] == "celery"]
    return {queue for command, options in served if command.name == "worker" for queue in options["queues"].split(",")}


@pytest.mark.parametrize("words", guide_commands(), ids=" ".join)
def test_each_command_of_the_guide_exists(words: list[str]) -> None:
    last_of(words)


@pytest.mark.parametrize(("name", "words"), compose_commands().items(), ids=str)
def test_each_command_of_the_compose_file_exists(name: str, words: list[str]) -> None:
    last_of(words)


def test_a_command_that_does_not_exist_is_noticed() -> None:
    with pytest.raises(click.UsageError):
        last_of(["headcount", "up", "--sideways"])
    with pytest.raises(click.UsageError):
        last_of(["celery", "--app", "x", "walker"])


@pytest.mark.parametrize("commands", [guide_commands(), [*compose_commands().values()]], ids=["guide", "compose"])
def test_every_class_of_work_has_a_worker(commands: list[list[str]]) -> None:
    assert queues_of(commands) == {queue_name(DEFAULTS, work_class) for work_class in CLASSES}


@pytest.mark.parametrize("commands", [guide_commands(), [*compose_commands().values()]], ids=["guide", "compose"])
def test_there_is_a_web_server_and_a_clock(commands: list[list[str]]) -> None:
    names = {last_of(words)[0].name for words in commands}
    assert {"beat", granian.name} <= names


def test_images_are_pinned_by_a_tag_that_says_a_version() -> None:
    inline = COMPOSE["services"]["web"]["build"]["dockerfile_inline"]
    images = [service["image"] for service in COMPOSE["services"].values()]
    images += re.findall(r"^FROM (\S+)", inline, re.MULTILINE)
    assert len(images) > len(COMPOSE["services"])
    for image in images:
        assert re.fullmatch(r"[a-z]+:\d+\.\d+[\w.-]*", image), image


@pytest.mark.parametrize("text", [GUIDE, (ROOT / "compose.yaml").read_text()], ids=["guide", "compose"])
def test_every_variable_is_a_setting(text: str) -> None:
    known = {f"HEADCOUNT_{name.upper()}" for name in Settings.model_fields}
    assert set(re.findall(r"HEADCOUNT_[A-Z_]+[A-Z]", text)) <= known


def test_services_wait_for_what_exists() -> None:
    for service in COMPOSE["services"].values():
        assert set(service.get("depends_on", {})) <= set(COMPOSE["services"])
