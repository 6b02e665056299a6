"""What compose.yaml and the deployment guide tell people to run exists, option by option."""

import re
import shlex
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
import pytest
import yaml
from celery.bin.celery import celery
from granian.cli import cli as granian

from headcount.cli.main import headcount
from headcount.conf import Settings, load_settings
from headcount.engines.celery.application import CLASSES, queue_name
from headcount.wiring import build
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
    """Read a command line as its program would, values too; returns the last subcommand with the options given to it.

    Raises:
        click.UsageError: there is no such subcommand, option or value.
    """
    command, rest = COMMANDS[words[0]], words[1:]
    while True:
        context = click.Context(command, info_name=command.name)
        options, rest, _ = command.make_parser(context).parse_args(args=list(rest))
        cast(command, context, options)
        if not isinstance(command, click.Group):
            assert not [word for word in rest if word.startswith("-")]
            return command, options
        name, command, rest = command.resolve_command(context, rest)
        assert command is not None, name


def cast(command: click.Command, context: click.Context, options: dict[str, Any]) -> None:
    """Have each value read by its option, but those that ask the Celery application."""
    for parameter in command.params:
        if parameter.name in options.keys() - {"app", "pool"}:
            parameter.type_cast_value(context, options[parameter.name])


def is_named_in(command: click.Command, words: list[str]) -> bool:
    """Whether a command is a program itself, or a subcommand by its name."""
    return command in COMMANDS.values() or command.name in words


def queues_of(commands: list[list[str]]) -> set[str]:
    served = [last_of(words) for words in commands if words[0] == "celery"]
    return {queue for command, options in served if command.name == "worker" for queue in options["queues"].split(",")}


@pytest.mark.parametrize("words", guide_commands(), ids=" ".join)
def test_each_command_of_the_guide_exists(words: list[str]) -> None:
    assert is_named_in(last_of(words)[0], words)


@pytest.mark.parametrize(("name", "words"), compose_commands().items(), ids=str)
def test_each_command_of_the_compose_file_exists(name: str, words: list[str]) -> None:
    assert is_named_in(last_of(words)[0], words)


def test_a_command_that_does_not_exist_is_noticed() -> None:
    with pytest.raises(click.UsageError):
        last_of(["headcount", "up", "--sideways"])
    with pytest.raises(click.UsageError):
        last_of(["celery", "--app", "x", "walker"])
    with pytest.raises(click.UsageError):
        last_of(["granian", "--workers=many", "headcount.site.web:application"])


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


def test_services_wait_for_what_exists_and_can_come_true() -> None:
    waits = [wait for service in COMPOSE["services"].values() for wait in service.get("depends_on", {}).items()]
    assert waits
    for name, wait in waits:
        assert can_come_true(COMPOSE["services"][name], wait["condition"]), (name, wait)


def can_come_true(service: dict[str, Any], condition: str) -> bool:
    """Only a service with a health check is ever healthy, and only one that is not started again is done."""
    match condition:
        case "service_healthy":
            return bool(service.get("healthcheck", {}).get("test"))
        case "service_completed_successfully":
            return str(service.get("restart", "no")) == "no"
    return condition == "service_started"


def test_a_wait_that_never_ends_is_noticed() -> None:
    assert not can_come_true({"image": "x"}, "service_healthy")
    assert not can_come_true({"restart": "unless-stopped"}, "service_completed_successfully")
    assert not can_come_true({}, "service_happy")


def test_every_volume_is_declared_and_every_declared_one_is_used() -> None:
    mounts = [mount for service in COMPOSE["services"].values() for mount in service.get("volumes", [])]
    sources = {mount.partition(":")[0] for mount in mounts}
    assert {source for source in sources if not source.startswith((".", "/"))} == set(COMPOSE["volumes"])


def environments() -> dict[str, dict[str, str]]:
    """What each process of the product finds in its environment, as somebody has it who sets only what must be set."""
    services = {name: COMPOSE["services"][name]["environment"] for name in compose_commands()}
    return {
        name: {variable: substituted(str(value)) for variable, value in environment.items()}
        for name, environment in services.items()
    }


def substituted(value: str) -> str:
    return re.sub(r"\$\{\w+(:-|:\?)([^}]*)\}", lambda found: found[2], value)


@pytest.mark.parametrize("environment", environments().values(), ids=environments())
def test_every_process_of_the_compose_file_has_settings_that_fit(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert {variable.removeprefix("HEADCOUNT_").lower() for variable in environment} <= set(Settings.model_fields)
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    settings = load_settings()
    addresses = (settings.database_url, settings.queue_url, settings.state_url, settings.broker_url)
    assert {urlsplit(address).hostname for address in addresses} == set(COMPOSE["services"]["migrate"]["depends_on"])
    build(settings)
