"""The command line, called in this process on the test's database or as a process of its own."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import headcount
from headcount import wiring
from headcount.cli.main import main
from tests.flow import given

SOURCE = Path(headcount.__file__).parents[1]


@dataclass(frozen=True)
class Said:
    """How a command ended and what it said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def headcount_in_process(deployment, monkeypatch, capsys, transactional_db):
    """Call the command line in this process; its commands find the test's database and deployment."""
    wiring.deployment.cache_clear()
    monkeypatch.setattr(wiring, "build", lambda settings: deployment)
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments: object) -> Said:
        monkeypatch.setattr(sys, "argv", ["headcount", *map(str, arguments)])
        capsys.readouterr()
        code = _exit_code()
        said = capsys.readouterr()
        return Said(code, said.out, said.err)

    yield call
    wiring.deployment.cache_clear()


def _exit_code() -> int:
    try:
        main()
    except SystemExit as leaving:
        return int(leaving.code or 0)
    return 0


@pytest.fixture
def project_id(headcount_in_process):
    """The project that commands work in unless they are told of another."""
    return given.project("default")


@pytest.fixture
def headcount_process(tmp_path):
    """Call the command line as a process of its own, on a data directory of its own."""

    def call(*arguments: object, **variables: object) -> Said:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("HEADCOUNT_")}
        environment |= {"PYTHONPATH": str(SOURCE), "HEADCOUNT_DATA_DIR": str(tmp_path / "data")}
        environment |= {name: str(value) for name, value in variables.items()}
        environment.pop("DJANGO_SETTINGS_MODULE", None)
        command = [sys.executable, "-m", "headcount", *map(str, arguments)]
        done = subprocess.run(
            command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )
        return Said(done.returncode, done.stdout, done.stderr)

    return call


def assert_one_line(said: Said, *words: str) -> None:
    """The command refused its input: code 2, one line on stderr that says why, and nothing else."""
    assert said.code == 2, said
    assert said.err.count("\n") == 1, said.err
    assert "Traceback" not in said.err
    for word in words:
        assert word in said.err, said.err
    assert said.out == ""
