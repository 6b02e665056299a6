import httpx
import pytest
from structlog.testing import capture_logs
from worker_fakes import problem

from headcount_worker.errors import TokenRefusedError
from headcount_worker.lease_book import LeaseBook
from headcount_worker.leases import LeaseKeeper, LeaseReleaser


def test_leases_fall_due_at_a_third_of_their_time(clock):
    book = LeaseBook(clock)
    assert book.seconds_until_due() is None
    book.hold(["a"], 30)
    assert book.seconds_until_due() == 10
    clock.seconds = 4
    book.hold(["b"], 90)
    assert book.seconds_until_due() == 6
    book.hold(["c"], 3)
    assert book.seconds_until_due() == 1


def test_extending_sets_the_next_time_by_the_shortest_lease(shared, server, clock):
    shared.book.hold(["a"], 30)
    shared.book.hold(["b"], 60)
    clock.seconds = 10
    LeaseKeeper(shared).extend_once()
    assert server.extended == ["a", "b"]
    assert shared.book.seconds_until_due() == 10
    shared.book.drop(["a"])
    LeaseKeeper(shared).extend_once()
    assert shared.book.seconds_until_due() == 20
    shared.book.drop(["b"])
    LeaseKeeper(shared).extend_once()
    assert shared.book.seconds_until_due() is None
    assert server.count("extend") == 2


@pytest.mark.parametrize("status", ["stale", "cancelled", "done", "rejected"])
def test_a_lost_lease_is_noted_and_not_extended_again(shared, server, status):
    server.lost = {"a": status}
    shared.book.hold(["a", "b"], 30)
    keeper = LeaseKeeper(shared)
    keeper.extend_once()
    keeper.extend_once()
    assert shared.book.is_lost("a")
    assert not shared.book.is_lost("b")
    assert server.extended == ["a", "b", "b"]


def test_a_status_of_a_newer_server_is_no_loss(shared, server):
    server.lost = {"a": "prolonged"}
    shared.book.hold(["a"], 30)
    LeaseKeeper(shared).extend_once()
    assert not shared.book.is_lost("a")


def test_a_dropped_lease_is_neither_held_nor_lost(shared):
    shared.book.hold(["a"], 30)
    shared.book.lose("a", "stale")
    shared.book.drop(["a"])
    shared.book.lose("a", "stale")
    assert not shared.book.is_lost("a")
    assert shared.book.to_extend() == []


def test_while_the_server_is_away_extending_is_tried_again_soon(shared, server):
    server.interruptions["extend"].extend([httpx.ConnectError("refused"), problem(503), None])
    shared.book.hold(["a"], 30)
    keeper = LeaseKeeper(shared)
    delays = []
    for _ in range(3):
        keeper.extend_once()
        delays.append(shared.book.seconds_until_due())
    assert delays == [1, 2, 10]


def test_a_refused_extension_is_a_warning(shared, server):
    server.interruptions["extend"].append(problem(422, "what is this"))
    shared.book.hold(["a"], 30)
    with capture_logs() as logs:
        LeaseKeeper(shared).extend_once()
    assert logs[0]["log_level"] == "warning"
    assert shared.book.seconds_until_due() == 10
    assert shared.stopping.error is None


def test_a_refused_token_ends_the_worker(shared, server):
    server.interruptions["extend"].append(problem(401))
    shared.book.hold(["a"], 30)
    LeaseKeeper(shared).extend_once()
    assert isinstance(shared.stopping.error, TokenRefusedError)
    assert shared.stopping.draining.is_set()


def test_many_leases_are_extended_in_several_requests(shared, server):
    shared.book.hold([f"lease-{number}" for number in range(450)], 30)
    LeaseKeeper(shared).extend_once()
    assert [len(body["leases"]) for body in server.bodies("extend")] == [200, 200, 50]


@pytest.mark.parametrize("route", ["extend", "release"])
def test_a_server_that_takes_fewer_leases_gets_fewer_at_a_time(shared, server, route):
    server.interruptions[route].extend([problem(413), None, problem(413)])
    shared.book.hold(["a", "b", "c", "d"], 30)
    if route == "extend":
        LeaseKeeper(shared).extend_once()
    else:
        LeaseReleaser(shared).release(["a", "b", "c", "d"], why="test")
    assert [body["leases"] for body in server.bodies(route)] == [list("abcd"), ["a", "b"], ["c", "d"], ["c"], ["d"]]


def test_idleness_counts_from_the_last_lease(clock):
    book = LeaseBook(clock)
    clock.seconds = 5
    assert book.idle_seconds() == 5
    book.hold(["a"], 30)
    clock.seconds = 50
    assert book.idle_seconds() == 0
    book.drop(["a"])
    clock.seconds = 57
    assert book.idle_seconds() == 7
    book.touch()
    assert book.idle_seconds() == 0


def test_released_leases_are_held_no_more(shared, server):
    shared.book.hold(["a", "b"], 30)
    LeaseReleaser(shared).release(["a"], why="test")
    assert server.released == ["a"]
    assert shared.book.to_extend() == ["b"]


def test_releasing_is_tried_again_and_then_given_up(shared, server, clock):
    server.interruptions["release"].extend([httpx.ConnectError("refused")] * 3)
    shared.book.hold(["a"], 30)
    with capture_logs() as logs:
        LeaseReleaser(shared).release(["a"], why="test")
    assert server.count("release") == 3
    assert clock.waits == [1, 2]
    assert "will expire" in logs[-1]["event"]
    assert shared.book.to_extend() == []


def test_a_refused_release_is_not_repeated(shared, server):
    server.interruptions["release"].append(problem(404))
    LeaseReleaser(shared).release(["a"], why="test")
    assert server.count("release") == 1


def test_a_release_with_a_refused_token_ends_the_worker(shared, server):
    server.interruptions["release"].append(problem(403))
    LeaseReleaser(shared).release(["a"], why="test")
    assert isinstance(shared.stopping.error, TokenRefusedError)


def test_the_keeper_returns_when_told(shared, server, clock):
    keeper = LeaseKeeper(shared)
    shared.book.hold(["a"], 30)
    keeper.end()
    keeper.run()
    assert (server.count("extend"), clock.waits) == (0, [])


def test_the_keeper_extends_when_due_and_not_before(shared, server, clock):
    keeper = LeaseKeeper(shared)

    def end_after_three():
        if server.count("extend") == 3:
            keeper.end()

    clock.on_wait = end_after_three
    shared.book.hold(["a"], 30)
    shared.book.changed.clear()
    keeper.run()
    assert server.count("extend") == 3
    assert clock.waits[:3] == [10, 10, 10]


def test_a_new_lease_wakes_the_keeper(shared):
    shared.book.changed.clear()
    shared.book.hold(["a"], 30)
    assert shared.book.changed.is_set()
