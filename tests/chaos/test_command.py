"""``headcount chaos``: what it prints, how it exits, and what it refuses to touch."""

import json

import pytest

from headcount.testing.chaos.plan import plan
from tests.cli.conftest import assert_one_line, headcount_process

__all__ = ["headcount_process"]

pytestmark = pytest.mark.process


def test_it_breaks_a_deployment_of_its_own_and_says_that_all_held(headcount_process, tmp_path):
    said = headcount_process("chaos", "--seed", 7, "--runs", 3, "--tasks", 6)
    assert (said.code, said.err) == (0, "")
    first, _, _, last = said.out.splitlines()
    assert first.startswith("ok    seed 7: job 1, 6 tasks, ")
    assert last == "3 jobs, all as they must be"
    assert not (tmp_path / "data").exists(), "the deployment of the environment was left alone"


def test_json_has_the_plan_and_what_replays_it(headcount_process):
    said = headcount_process("chaos", "--seed", 7, "--runs", 1, "--jobs", 2, "--tasks", 6, "--json")
    assert said.code == 0
    first, second = map(json.loads, said.out.splitlines())
    assert first["held"] is second["held"] is True
    assert first["plan"] == json.loads(json.dumps(plan(7, 6).as_json()))
    assert first["replay"] == "headcount chaos --seed 7 --runs 1 --jobs 2 --tasks 6"
    assert first["status"] == first["plan"]["status"]


def test_it_refuses_a_deployment_that_is_not_marked_for_it(headcount_process, tmp_path):
    said = headcount_process("chaos", "--deployment", "here", "--runs", 1)
    assert_one_line(said, "HEADCOUNT_CHAOS_ALLOWED=true")
    assert not (tmp_path / "data").exists(), "nothing was made, let alone broken"


@pytest.mark.parametrize("word", ["false", "0", ""])
def test_a_mark_that_says_no_is_none(headcount_process, word):
    said = headcount_process("chaos", "--deployment", "here", "--runs", 1, HEADCOUNT_CHAOS_ALLOWED=word)
    assert said.code == 2
    assert "HEADCOUNT_CHAOS_ALLOWED" in said.err


def test_it_breaks_a_marked_deployment_in_real_time_and_leaves_its_jobs_there(headcount_process):
    marked = {"HEADCOUNT_CHAOS_ALLOWED": "true", "HEADCOUNT_ACK_WAIT": "0.2", "HEADCOUNT_DISPATCH_LEASE": "0.2"}
    said = headcount_process("chaos", "--deployment", "here", "--seed", 4, "--runs", 1, "--tasks", 6, **marked)
    assert said.code == 0, said
    assert said.out.splitlines()[-1] == "1 jobs, all as they must be"
    (job,) = headcount_process("jobs", "--json", **marked).json
    assert (job["kind"], job["name"], job["status"]) == ("note", "seed 4", plan(4, 6).status)


def test_attempts_that_the_faults_alone_could_spend_are_refused(headcount_process):
    marked = {"HEADCOUNT_CHAOS_ALLOWED": "true", "HEADCOUNT_MAX_ATTEMPTS": 3}
    said = headcount_process("chaos", "--deployment", "here", "--runs", 1, **marked)
    assert_one_line(said, "HEADCOUNT_MAX_ATTEMPTS")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--runs", "0"], "--runs"),
        (["--tasks", "0"], "--tasks"),
        (["--seed", "-1"], "--seed"),
        (["--deployment", "there"], "there"),
    ],
)
def test_bad_input_is_refused_in_one_line(headcount_process, arguments, words):
    assert_one_line(headcount_process("chaos", *arguments), words)
