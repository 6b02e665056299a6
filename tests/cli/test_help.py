"""Every command says what it does and what each of its options is for."""

import click
import pytest
from click.testing import CliRunner

from headcount.cli.main import COMMANDS, headcount


def commands():
    """Every command and every command of a group, by its words."""
    context = click.Context(headcount)
    for name in COMMANDS:
        command = headcount.get_command(context, name)
        yield (name,), command
        for word, subcommand in getattr(command, "commands", {}).items():
            yield (name, word), subcommand


def help_of(*words):
    return CliRunner().invoke(headcount, [*words, "--help"], prog_name="headcount")


@pytest.mark.parametrize("name", COMMANDS)
def test_help_exits_0_and_every_option_is_described(name):
    for words, command in commands():
        if words[0] == name:
            said = help_of(*words)
            assert (said.exit_code, said.stderr) == (0, "")
            assert said.output.startswith(f"Usage: headcount {' '.join(words)}")
            assert undescribed(command) == [], words


def undescribed(command):
    """The options of a command that have no help, and the command itself if it has none."""
    options = [param.name for param in command.params if isinstance(param, click.Option) and not param.help]
    return options if command.help else [command.name, *options]


@pytest.mark.parametrize("name", COMMANDS)
def test_the_table_of_commands_says_what_the_command_says(name):
    command = headcount.get_command(click.Context(headcount), name)
    assert command.name == name
    assert COMMANDS[name].purpose.endswith(".")


def test_no_help_shows_the_marks_that_lay_it_out():
    for words, _ in [((), headcount), *commands()]:
        assert "\\b" not in help_of(*words).output
        assert "\b" not in help_of(*words).output


@pytest.mark.parametrize("group", [name for name in ("token", "service") if name in COMMANDS])
def test_a_group_alone_shows_its_help(group):
    said = CliRunner().invoke(headcount, [group], prog_name="headcount")
    assert f"Usage: headcount {group}" in said.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["submit", "--config", "[" * 100_000], "nested too deep"),
        (["submit", "--config", '{"a": NaN}'], "NaN"),
        (["submit", "--config", r'{"a": "\u0000"}'], "NUL"),
        (["submit", "--config", '"night"'], "must be a JSON object"),
        (["show", "99999999999999999999999"], "there is no job"),
        (["show", "--", "-1"], "there is no job -1"),
        (["show", "1.5"], "'1.5' is not a valid integer"),
        (["export", "1", "2"], "unexpected extra argument"),
        (["submit", "--failure-threshold", "nan"], "a share from 0 to 1, not nan"),
        (["service", "add", "--name", "box"], "--url"),
    ],
)
def test_more_bad_input_in_one_line(headcount_in_process, arguments, words):
    said = headcount_in_process(*arguments)
    assert said.code == 2
    assert said.err.count("\n") == 1
    assert words in said.err
    assert said.out == ""
