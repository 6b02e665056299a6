"""Waiting in tests ends when what is waited for is there, and says what was waited for when it never is."""

import pytest

from headcount.testing.waiting import wait_until


def test_what_is_waited_for_is_given_back_once_it_is_there() -> None:
    answers = iter([None, [], "there"])
    assert wait_until(lambda: next(answers), "it is there") == "there"


def test_what_never_comes_is_named() -> None:
    with pytest.raises(AssertionError, match=r"after 0.05 s still not so: pigs fly"):
        wait_until(lambda: False, "pigs fly", 0.05)
