"""The command line as processes of their own: codes, and which of the two streams says what."""

import os
import subprocess
import sys

import pytest

from headcount.testing.servers import free_port
from tests.cli.conftest import assert_one_line
from tests.images.conftest import draw

LOADED_BY_HELP = """
import sys
from headcount.cli.main import headcount
try:
    headcount(["--help"])
except SystemExit as leaving:
    assert leaving.code == 0
print([name for name in ("headcount.models", "headcount.cli.setup", "celery", "nats", "cv2") if name in sys.modules])
"""


def test_without_a_command_the_help_is_shown_and_nothing_is_made(headcount_process, tmp_path):
    said = headcount_process()
    assert "Usage: headcount [OPTIONS] COMMAND" in said.out + said.err
    assert "audit" in said.out + said.err
    assert "Traceback" not in said.err
    assert list(tmp_path.iterdir()) == []


def test_help_is_quick_because_it_loads_neither_django_nor_an_engine():
    done = subprocess.run([sys.executable, "-c", LOADED_BY_HELP], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_an_unknown_command_is_refused_without_a_data_directory(headcount_process, tmp_path):
    assert_one_line(headcount_process("orchid"), "No such command 'orchid'")
    assert list(tmp_path.iterdir()) == []


def test_with_the_broker_away_json_is_still_json_and_the_warning_is_on_stderr(headcount_process, tmp_path):
    draw(tmp_path / "night" / "a.jpg")
    away = f"amqp://guest:guest@127.0.0.1:{free_port()}//"
    said = headcount_process("import", "night", "--json", HEADCOUNT_BROKER_URL=away)
    assert (said.code, said.json["status"]) == (0, "CREATED")
    assert "Connection refused" in said.err
    assert "Traceback" not in said.err
    audited = headcount_process("audit", said.json["id"], "--json")
    assert (audited.code, audited.err, audited.json["clean"]) == (0, "", True)


def test_a_database_server_that_refuses_is_told_at_once_with_its_address(headcount_process):
    port = free_port()
    said = headcount_process("jobs", HEADCOUNT_DATABASE_URL=f"postgresql://nobody@127.0.0.1:{port}/none")
    assert_one_line(said, "Connection refused", str(port))
    assert "pool" not in said.err


@pytest.mark.parametrize("url", ["mysql://a/b", "postgresql://nobody@127.0.0.1:port/none"])
def test_a_database_url_that_cannot_be_used_is_answered_with_ones_that_can(headcount_process, url):
    said = headcount_process("jobs", HEADCOUNT_DATABASE_URL=url)
    assert_one_line(said, "HEADCOUNT_DATABASE_URL", "sqlite:///", "postgresql://")


def test_a_file_in_place_of_the_data_directory_is_named(headcount_process, tmp_path):
    (tmp_path / "data").write_text("I was here first")
    assert_one_line(headcount_process("jobs"), "data directory", str(tmp_path / "data"))
    assert (tmp_path / "data").read_text() == "I was here first"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_data_directory_without_the_right_to_write_is_named(headcount_process, tmp_path):
    (tmp_path / "data").mkdir(mode=0o500)
    assert_one_line(headcount_process("jobs"), str(tmp_path / "data"))


def test_a_database_file_with_a_good_beginning_and_nothing_behind_it_is_told_so(headcount_process, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "headcount.sqlite3").write_bytes(b"SQLite format 3\0" + b"\xff" * 5000)
    assert_one_line(headcount_process("jobs"), "database")
