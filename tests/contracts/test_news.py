"""News: whoever waits hears what happens from the moment it last looked."""

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
    news.wait(heard, NEVER)


def test_a_wait_without_news_ends_with_its_time() -> None:
    news = News()
    news.tell()
    news.wait(1, 0.01)
    assert news.count == 1
