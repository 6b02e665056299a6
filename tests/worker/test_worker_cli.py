import json

import pytest
import structlog
from click.testing import CliRunner

from headcount_worker import cli
from headcount_worker.logs import configure_logs, tally

PIPELINE = """
from headcount_worker import pipeline

@pipeline(slug="{slug}")
def find(image):
    return []
"""


@pytest.fixture
def invoke(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "moths.py").write_text(PIPELINE.format(slug="moths"))
    (tmp_path / "wings.py").write_text(PIPELINE.format(slug="moths"))

    def invoke(*arguments, **environment):
        return CliRunner().invoke(cli.worker, list(arguments), env=environment, prog_name="headcount-worker")

    return invoke


@pytest.fixture
def started(monkeypatch):
    """What the worker is made of, instead of running it."""
    made = []

    class Recorded:
        def __init__(self, settings, pipelines, stopping):
            made.append((settings, [one.slug for one in pipelines]))

        def run(self):
            return 0

    monkeypatch.setattr(cli, "Worker", Recorded)
    return made


GOOD = ("--server", "http://server.test", "--token", "t", "--pipeline", "moths.py:find")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (GOOD[2:], "no server: give --server, or set HEADCOUNT_SERVER"),
        ((*GOOD[:2], *GOOD[4:]), "no token: give --token, or set HEADCOUNT_TOKEN"),
        (GOOD[:4], "no pipeline: give --pipeline module:function"),
        ((*GOOD, "--server", "server.test"), "must look like https://"),
        ((*GOOD, "--pipeline", "nowhere:find"), "cannot import nowhere"),
        ((*GOOD, "--pipeline", "moths.py:nothing"), "it has these pipelines: find"),
        ((*GOOD, "--pipeline", "wings.py:find"), "two of the pipelines have the slug 'moths'"),
        ((*GOOD, "--batch-size", "none"), "'none' is not a valid integer"),
        ((*GOOD, "--batch-size", "0"), "0 is not in the range"),
        ((*GOOD, "--sever", "x"), "No such option"),
        ((*GOOD, "extra"), "unexpected extra argument"),
    ],
)
def test_bad_input_is_one_line_on_stderr_and_code_2(invoke, arguments, words):
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert words in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_options_reach_the_worker(invoke, started):
    result = invoke(
        *GOOD, "--batch-size", "32", "--name", "bench", "--once", "--exit-when-idle", "60", "--drain-seconds", "9"
    )
    assert result.exit_code == 0
    ((settings, slugs),) = started
    assert slugs == ["moths"]
    assert (settings.server, settings.token, settings.service_name) == ("http://server.test", "t", "bench")
    assert (settings.batch_size, settings.once, settings.exit_when_idle) == (32, True, 60)
    assert settings.drain_seconds == 9


def test_server_and_token_come_from_the_environment(invoke, started):
    result = invoke(*GOOD[4:], HEADCOUNT_SERVER="http://other.test/", HEADCOUNT_TOKEN="secret")
    assert result.exit_code == 0
    assert (started[0][0].server, started[0][0].token) == ("http://other.test", "secret")
    assert started[0][0].service_name


def test_the_help_has_examples_and_the_variables(invoke):
    text = invoke("--help").stdout
    assert "headcount-worker --pipeline my_module:find_moths" in text
    assert "HEADCOUNT_TOKEN" in text
    assert "--exit-when-idle" in text


def test_json_logs_are_one_object_a_line(capsys):
    configure_logs(as_json=True)
    log = structlog.get_logger()
    log.warning("failed", exc_info=ValueError("sad"), count=3)
    out, err = capsys.readouterr()
    assert out == ""
    entry = json.loads(err)
    assert (entry["event"], entry["level"], entry["count"]) == ("failed", "warning", 3)
    assert entry["timestamp"].endswith("Z")
    assert "sad" in json.dumps(entry["exception"])


def test_plain_logs_are_lines_for_people(capsys):
    configure_logs(as_json=False)
    structlog.get_logger().info("claimed", count=3)
    out, err = capsys.readouterr()
    assert out == ""
    assert "claimed" in err
    assert "count=3" in err
    assert "\x1b" not in err


def test_a_tally_counts_words():
    assert tally(["saved", "stale", "saved"]) == "2 saved, 1 stale"
