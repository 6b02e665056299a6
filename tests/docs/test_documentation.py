"""What the documentation says is what the commands do: each console block is run, in order, as a newcomer would."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from headcount_images.pictures.sample_night import draw_sample_night

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
PHOTOS = 6
NIGHT = "demo-data/sample-night-120-2024"
DEMO = [f"headcount demo --images {PHOTOS} --workers 1", f"mv demo-data/sample-night-{PHOTOS}-2024 {NIGHT}"]
"""What ``make demo`` does in a few seconds, and as it is found after the 120 photos of the pages."""

BLOCK = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?://)([^)#]+)")
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
SERVER_IS_UP = "until curl --silent --fail --output /dev/null http://127.0.0.1:$PORT/api/v2/docs; do sleep 0.2; done"


def blocks(page: Path) -> list[str]:
    return BLOCK.findall(page.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_generated_pages_are_what_the_code_says() -> None:
    done = subprocess.run(
        [sys.executable, "docs/generate.py", "--check"],
        cwd=ROOT,
        env=newcomers_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def newcomers_environment() -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("HEADCOUNT_", "DJANGO_"))}
    return {**inherited, "PATH": f"{BIN}:{os.environ['PATH']}"}


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A shell in an empty folder, with the commands on its path; whatever it starts ends with it."""
    process = subprocess.Popen(
        ["bash", "-euo", "pipefail"],
        cwd=tmp_path,
        env=newcomers_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    yield process
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()


def as_script(commands: list[str], port: int, demo: list[str]) -> str:
    """Join the commands of a page into one script that needs no second terminal and no fixed port."""
    script = [f"PORT={port}"]
    for command in commands:
        for line in command.splitlines():
            script += demo if line == "make demo" else adapted(line)
    return "\n".join([*script, "kill $(jobs -p); wait || true", "echo all done"]) + "\n"


def adapted(line: str) -> list[str]:
    if line.startswith(". .venv"):
        return []
    line = line.replace("http://127.0.0.1:8000", "http://127.0.0.1:$PORT")
    if line == "headcount serve":
        return ['headcount serve --port "$PORT" &', SERVER_IS_UP]
    if line.startswith("headcount worker"):
        return [line.rstrip(" &") + " &", "until headcount_offers; do sleep 0.2; done"]
    return [line]


OFFERS = """
headcount_offers() {
    curl --silent --header "Authorization: Bearer $HEADCOUNT_TOKEN" "$HEADCOUNT_SERVER/api/v2/projects/1/pipelines" \
        | grep --quiet light-sheet-blobs
}
"""


@pytest.mark.process
def test_a_newcomer_can_follow_the_readme(shell: subprocess.Popen[str], free_port: int) -> None:
    assert_can_be_followed(shell, "README.md", free_port, DEMO)


@pytest.mark.process
def test_a_newcomer_can_follow_the_tutorial(shell: subprocess.Popen[str], free_port: int, tmp_path: Path) -> None:
    """The demo is the one of the README; here the photos that it draws are enough."""
    draw_sample_night(tmp_path / NIGHT, images=PHOTOS, seed=2024)
    assert_can_be_followed(shell, "docs/tutorial/first-job.md", free_port, demo=[])


def assert_can_be_followed(shell: subprocess.Popen[str], page: str, port: int, demo: list[str]) -> None:
    commands = [block for block in blocks(ROOT / page) if "make test" not in block]
    output, _ = shell.communicate(OFFERS + as_script(commands, port, demo), timeout=110)
    assert output.rstrip().endswith("all done"), output
    assert f"audit of job 2, run 1: N = {PHOTOS} = 0 waiting" in output
