"""Writes the reference pages that the code can tell: ``python docs/generate.py``; ``--check`` only compares."""

import os
import sys
import tempfile
from pathlib import Path

import click
from pydantic_core import PydanticUndefined

from headcount.cli.main import COMMANDS, headcount
from headcount.conf import Settings

REFERENCE = Path(__file__).parent / "reference"
WIDTH = 100


def settings_page() -> str:
    """Return the page of all settings."""
    rows = [
        f"| `HEADCOUNT_{name.upper()}` | {_default(field.default)} | {field.description or ''} |"
        for name, field in Settings.model_fields.items()
    ]
    return "\n".join(
        [
            "# Settings",
            "",
            "A deployment is configured by environment variables and nothing else. The four URLs choose the engines.",
            "Durations are seconds or ISO 8601 (`PT30S`). A value that does not fit is refused at the start, by name.",
            "",
            "| variable | default | what it is |",
            "|---|---|---|",
            *rows,
            "",
        ]
    )


def command_line_page() -> str:
    """Return the page of all commands, as their ``--help`` says."""
    parts = ["# Command line", "", "Bad input exits with 2 and one line on stderr. `headcount --help` and every"]
    parts += ["command's `--help` say what is said here.", ""]
    parts += _help_of("headcount", headcount)
    context = click.Context(headcount, info_name="headcount")
    for name in COMMANDS:
        command = headcount.get_command(context, name)
        if command is not None:
            parts += _help_with_subcommands(f"headcount {name}", command)
    return "\n".join(parts)


def _help_with_subcommands(title: str, command: click.Command) -> list[str]:
    parts = _help_of(title, command)
    if isinstance(command, click.Group):
        for name, subcommand in command.commands.items():
            parts += _help_of(f"{title} {name}", subcommand)
    return parts


def _help_of(title: str, command: click.Command) -> list[str]:
    context = click.Context(command, info_name=title, max_content_width=WIDTH, terminal_width=WIDTH)
    return [f"## {title}", "", "```text", command.get_help(context).rstrip(), "```", ""]


def _default(value: object) -> str:
    if value is PydanticUndefined or value == "":
        return ""
    return f"`{value.total_seconds():g}` s" if hasattr(value, "total_seconds") else f"`{value}`"


PAGES = {"settings.md": settings_page, "command-line.md": command_line_page}


def main() -> None:
    """Write the pages, or exit 1 where one is not what the code says."""
    os.environ["HEADCOUNT_DATA_DIR"] = tempfile.mkdtemp()
    stale = [name for name, page in PAGES.items() if not _is_fresh(name, page())]
    if "--check" in sys.argv[1:]:
        sys.exit(f"run 'python docs/generate.py': stale are {', '.join(stale)}" if stale else 0)
    for name in stale:
        (REFERENCE / name).write_text(PAGES[name](), encoding="utf-8")


def _is_fresh(name: str, text: str) -> bool:
    page = REFERENCE / name
    return page.exists() and page.read_text(encoding="utf-8") == text


if __name__ == "__main__":
    main()
