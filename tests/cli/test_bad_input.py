"""Bad input and a bad set-up: one line on stderr that says what would be right, and exit code 2."""

import socket

import pytest

from headcount.models import Job
from tests.cli.conftest import assert_one_line
from tests.flow import given


@pytest.mark.parametrize("command", ["show", "audit", "cancel", "export"])
def test_an_unknown_job(headcount_in_process, command):
    assert_one_line(headcount_in_process(command, 4711), "there is no job 4711 here")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["show", "seven"], "'seven' is not a valid integer"),
        (["show"], "JOB_ID"),
        (["show", "1", "--colour"], "--colour"),
        (["nonsense"], "nonsense"),
        (["token", "nonsense"], "nonsense"),
        (["--nonsense"], "--nonsense"),
        (["jobs", "--limit", "0"], "--limit"),
        (["serve", "--port", "70000"], "--port"),
        (["submit", "--failure-threshold", "1.5"], "--failure-threshold"),
        (["submit", "--priority", "much"], "--priority"),
        (["submit", "--dispatch-mode", "pigeon"], "pigeon"),
        (["token", "create", "--scope", "everything"], "everything"),
        (["submit", "--config", "{"], "--config is not JSON"),
        (["submit", "--config", "[1]"], "--config must be a JSON object"),
        (["submit", "--kind", "magic"], "no job kind 'magic'"),
        (["submit", "--pipeline", "orchids", "--collection", "night"], "'orchids'"),
        (["import", "no/such/folder"], "there is no folder"),
        (["worker"], "pipeline"),
        (["worker", "--pipeline", "no.such:thing"], "no.such"),
    ],
)
def test_arguments_that_do_not_fit(headcount_in_process, arguments, words):
    assert_one_line(headcount_in_process(*arguments), words)


def test_an_unknown_pipeline_with_those_that_are_known(headcount_in_process, project_id):
    given.collection(project_id, 1)
    said = headcount_in_process("submit", "--pipeline", "orchids", "--collection", "night")
    assert_one_line(said, "'orchids'", "offered are: blobs")
    assert Job.objects.count() == 0


def test_a_pipeline_in_a_project_where_no_worker_ever_was(headcount_in_process, project_id):
    given.collection(given.jobs.ensure_project("bees"), 1)
    said = headcount_in_process("submit", "--project", "bees", "--pipeline", "blobs", "--collection", "night")
    assert_one_line(said, "start a worker first")


def test_a_job_to_be_pushed_where_it_cannot_be(headcount_in_process, project_id):
    given.collection(project_id, 1)
    submit = ("submit", "--dispatch-mode", "sync_api", "--pipeline", "blobs", "--collection", "night")
    assert_one_line(headcount_in_process(*submit), "headcount service add")
    headcount_in_process("service", "add", "--name", "box", "--url", "http://box", "--pipeline", "blobs")
    assert_one_line(headcount_in_process(*submit), "HEADCOUNT_PUBLIC_URL is not set: set it to")
    assert Job.objects.count() == 0


def test_an_empty_folder(headcount_in_process, tmp_path):
    assert_one_line(headcount_in_process("import", tmp_path), "there is no image file below")


def test_an_unknown_export_format(headcount_in_process, deployment, project_id):
    job = given.dispatched(deployment, 0, project_id)
    assert_one_line(headcount_in_process("export", job.id, "--format", "xls"), "csv, jsonl, coco")


def test_an_output_that_cannot_be_written(headcount_in_process, deployment, project_id, tmp_path):
    job = given.dispatched(deployment, 0, project_id)
    assert_one_line(headcount_in_process("export", job.id, "--output", tmp_path / "no" / "where.csv"), "where.csv")


def test_a_job_that_has_ended_cannot_be_cancelled(headcount_in_process, deployment, project_id):
    job = given.dispatched(deployment, 0, project_id)
    assert_one_line(headcount_in_process("cancel", job.id), "has ended already, as SUCCESS")


@pytest.mark.process
def test_a_name_that_is_no_utf8(headcount_process):
    assert_one_line(headcount_process("submit", "--project", "b\udce4r", "--pipeline", "blobs"), "UTF-8")


@pytest.mark.process
@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("HEADCOUNT_ACK_WAIT", "soon"),
        ("HEADCOUNT_ACK_WAIT", "-5"),
        ("HEADCOUNT_MAX_ATTEMPTS", "0"),
        ("HEADCOUNT_DEBUG", "perhaps"),
        ("HEADCOUNT_DEPLOYMENT_NAME", "No Name"),
    ],
)
def test_a_variable_that_does_not_fit_is_named(headcount_process, variable, value):
    assert_one_line(headcount_process("jobs", **{variable: value}), variable, value)


@pytest.mark.process
@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("HEADCOUNT_QUEUE_URL", "pigeon://loft"),
        ("HEADCOUNT_STATE_URL", "pigeon://loft"),
        ("HEADCOUNT_BROKER_URL", "pigeon://loft"),
        ("HEADCOUNT_DATABASE_URL", "pigeon://loft"),
        ("HEADCOUNT_DATABASE_URL", "nonsense"),
    ],
)
def test_an_engine_nobody_knows_is_named(headcount_process, variable, value):
    assert_one_line(headcount_process("serve", **{variable: value}), variable)


@pytest.mark.process
def test_a_data_directory_that_cannot_be_written(headcount_process, tmp_path):
    (tmp_path / "file").touch()
    place = tmp_path / "file" / "data"
    assert_one_line(headcount_process("jobs", HEADCOUNT_DATA_DIR=place), str(place))
    assert_one_line(headcount_process("--data-dir", place, "jobs"), str(place))


@pytest.mark.process
def test_a_file_that_is_no_database(headcount_process, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "headcount.sqlite3").write_bytes(b"This is not a database. " * 200)
    assert_one_line(headcount_process("jobs"), "file is not a database")


@pytest.mark.process
def test_a_database_server_that_is_not_there(headcount_process):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    said = headcount_process("jobs", HEADCOUNT_DATABASE_URL=f"postgresql://nobody@127.0.0.1:{port}/none")
    assert_one_line(said, "database")


@pytest.mark.process
def test_commands_make_the_data_directory_on_first_use(headcount_process, tmp_path):
    assert headcount_process("jobs", "--json").json == []
    assert (tmp_path / "data" / "headcount.sqlite3").exists()
    assert (tmp_path / "data" / "secret.key").stat().st_mode & 0o077 == 0
