"""News: whoever waits hears what happens from the moment it last looked."""

import os

import pytest

from headcount.ports.news import News
from headcount.testing.waiting import wait_until
from tests.flow.threads import in_thread

SOON = 10.0
NEVER = 1e6


def test_everybody_who_waits_hears() -> None:
    news = News()
    waiting = [in_thread(lambda: news.wait(0, NEVER)) for _ in range(3)]
    wait_until(lambda: len(news._changed._waiters) == 3, "all wait")
    news.tell()
    for thread in waiting:
        thread.result(SOON)
    assert news.count == 1


def test_what_happened_since_the_last_look_is_not_waited_for() -> None:
    news = News()
    heard = news.count
    news.tell()
    in_thread(lambda: news.wait(heard, NEVER)).result(SOON)
    assert news.count == heard + 1


def test_a_wait_without_news_ends_with_its_time() -> None:
    news = News()
    news.tell()
    news.wait(1, 0.01)
    assert news.count == 1


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_a_fork_hears_even_where_its_parent_was_just_telling() -> None:
    news = News()
    with news._changed:
        child = os.fork()
        if child == 0:
            news.tell()
            os._exit(news.count)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
