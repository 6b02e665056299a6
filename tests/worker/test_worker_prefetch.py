import threading
from dataclasses import replace

import httpx
import pytest
from structlog.testing import capture_logs
from worker_fakes import PIXELS, problem, task

from headcount_worker import pipeline
from headcount_worker.download import Downloader
from headcount_worker.errors import StartError, TokenRefusedError
from headcount_worker.handover import Batch, Handover
from headcount_worker.prefetch import Prefetcher
from headcount_worker.wire import PostedResult, TaskError

MOTHS = pipeline(slug="moths")(lambda _image: [])
WINGS = pipeline(slug="wings")(lambda _image: [])


class EndlessHandover(Handover):
    """A place that is always free, and remembers what was laid down."""

    def __init__(self, server):
        super().__init__()
        self.batches = []
        self.claims_when_asked = []
        self.closed = False
        self._server = server

    def wait_until_free(self):
        self.claims_when_asked.append(self._server.count("claim"))

    def put(self, batch):
        self.batches.append(batch)

    def close(self):
        self.closed = True


@pytest.fixture
def make(make_shared, settings, server, clock):
    made = []

    def make(*pipelines, **changes):
        changed = replace(settings, **changes)
        shared = make_shared(changed)
        downloader = Downloader(changed, shared.stopping.draining, clock, transport=server.transport())
        made.append(downloader)
        prefetcher = Prefetcher(
            shared, {one.slug: one for one in pipelines or (MOTHS,)}, downloader, EndlessHandover(server)
        )
        return prefetcher, shared

    yield make
    for downloader in made:
        downloader.close()


@pytest.fixture
def run(make):
    """Prefetch until there is no more; give the batches and what the threads share."""

    def run(*pipelines, **changes):
        prefetcher, shared = make(*pipelines, **{"exit_when_idle": 0, **changes})
        prefetcher.run()
        assert prefetcher._handover.closed
        return prefetcher._handover.batches, shared

    return run


def test_a_batch_arrives_with_its_images(run, server):
    server.offer(7, [task(1, payload={"night": 3}), task(2)])
    (batch,), shared = run(batch_size=2)
    assert (batch.job_id, batch.pipeline) == (7, MOTHS)
    assert [(one.lease, one.image.id, one.image.content) for one in batch.tasks] == [
        ("lease-1", "image-1", PIXELS),
        ("lease-2", "image-2", PIXELS),
    ]
    assert batch.tasks[0].image.payload == {"night": 3}
    assert shared.book.to_extend() == ["lease-1", "lease-2"]
    assert server.bodies("claim")[0]["batch_size"] == 2


def test_a_task_without_an_image_needs_no_download(run, server):
    server.offer(7, [task(1, image_url="", image_id="")])
    (batch,), _ = run()
    assert batch.tasks[0].image.id == "1"
    assert server.count("image") == 0


def test_an_image_that_cannot_be_had_is_that_tasks_error_and_no_others(run, server):
    server.interruptions["image"].append(problem(404))
    server.offer(7, [task(1), task(2)])
    (batch,), shared = run(download_threads=1)
    assert [one.lease for one in batch.tasks] == ["lease-2"]
    parcel = shared.outbox.take()
    assert (parcel.job_id, parcel.leases) == (7, ["lease-1"])
    assert "there is no image at this address (404" in parcel.results[0].result.error
    assert parcel.results[0].result.image_id == "image-1"


def test_an_image_whose_server_stays_away_is_released_and_not_failed(run, server):
    server.interruptions["image"].extend([problem(503)] * 5)
    server.offer(7, [task(1), task(2)])
    (batch,), shared = run(download_threads=1)
    assert [one.lease for one in batch.tasks] == ["lease-2"]
    assert server.released == ["lease-1"]
    assert shared.outbox.unsettled == 0
    assert shared.book.to_extend() == ["lease-2"]


def test_a_batch_without_a_usable_image_is_not_worked_on(run, server):
    server.interruptions["image"].append(problem(404))
    server.offer(7, [task(1)])
    batches, _ = run()
    assert batches == []


def test_the_pipeline_is_the_one_the_server_names(run, server):
    server.offer(7, [task(1)], pipeline="wings")
    (batch,), _ = run(MOTHS, WINGS, once=True)
    assert batch.pipeline is WINGS
    assert server.bodies("claim")[0]["pipelines"] == ["moths", "wings"]


@pytest.mark.parametrize(
    ("pipelines", "named"),
    [((MOTHS, WINGS), {}), ((MOTHS,), {"pipeline": "wings"}), ((MOTHS, WINGS), {"pipeline": "x"})],
)
def test_tasks_of_no_known_pipeline_are_given_back(run, server, pipelines, named):
    server.offer(7, [task(1)], **named)
    batches, shared = run(*pipelines)
    assert batches == []
    assert server.released == ["lease-1"]
    assert isinstance(shared.stopping.error, StartError)


def test_once_is_one_batch(run, server):
    server.offer(7, [task(1)])
    server.offer(7, [task(2)])
    batches, _ = run(once=True, exit_when_idle=None)
    assert len(batches) == 1
    assert server.count("claim") == 1


def test_once_without_tasks_ends_after_one_poll(run, server):
    assert run(once=True, exit_when_idle=None)[0] == []
    assert [body["wait_seconds"] for body in server.bodies("claim")] == [5]


def test_idleness_ends_it_after_its_time_and_not_before(run, server, clock):
    run(exit_when_idle=3)
    assert clock.seconds == 3
    assert [body["wait_seconds"] for body in server.bodies("claim")] == [3, 2, 1]


def test_a_server_that_does_not_wait_is_not_asked_in_a_tight_loop(run, clock):
    run(exit_when_idle=10)
    assert clock.waits == [1] * 10


def test_a_worker_that_holds_a_lease_is_not_idle(make, clock):
    prefetcher, shared = make(exit_when_idle=3)
    shared.book.hold(["lease-9"], 30)

    def work_until_20():
        if clock.seconds == 20:
            shared.book.drop(["lease-9"])

    clock.on_wait = work_until_20
    prefetcher.run()
    assert 20 <= clock.seconds <= 24


def test_time_without_a_server_is_not_idle_time(run, server, clock):
    server.interruptions["claim"].extend([httpx.ConnectError("refused")] * 5)
    run(exit_when_idle=3)
    assert clock.waits[:5] == [1, 2, 4, 8, 16]
    assert server.count("claim") > 6


def test_a_refused_claim_is_tried_again_with_a_warning(run, server):
    server.interruptions["claim"].append(problem(422, "unknown pipeline"))
    server.offer(7, [task(1)])
    with capture_logs() as logs:
        batches, _ = run()
    assert len(batches) == 1
    assert "unknown pipeline" in logs[0]["reason"]


def test_a_refused_token_ends_it(run, server):
    server.interruptions["claim"].append(problem(401))
    _, shared = run(exit_when_idle=None)
    assert isinstance(shared.stopping.error, TokenRefusedError)
    assert server.count("claim") == 1


def test_nothing_is_claimed_while_the_outbox_is_full(make, server, clock):
    prefetcher, shared = make(unposted_limit=1, once=True)
    parcel = _one_result(shared)
    claims_while_full = []

    def make_room_after_five():
        claims_while_full.append(server.count("claim"))
        if len(claims_while_full) == 5:
            shared.outbox.settle(parcel)

    clock.on_wait = make_room_after_five
    prefetcher.run()
    assert claims_while_full[:5] == [0] * 5
    assert server.count("claim") == 1


def _one_result(shared):
    shared.outbox.add(1, [PostedResult(reply_subject="lease-0", result=TaskError(error="no"))])
    return shared.outbox.take()


def test_no_batch_is_claimed_before_there_is_a_place_for_it(make, server):
    prefetcher, _ = make(exit_when_idle=0)
    server.offer(7, [task(1)])
    server.offer(7, [task(2)])
    prefetcher.run()
    assert prefetcher._handover.claims_when_asked == [0, 1, 2]


def test_a_place_is_free_once_its_batch_is_taken():
    handover = Handover()
    handover.put(Batch(7, MOTHS, ()))
    waited = threading.Event()
    waiter = threading.Thread(target=lambda: (handover.wait_until_free(), waited.set()))
    waiter.start()
    assert not waited.is_set()
    assert handover.take() == Batch(7, MOTHS, ())
    assert waited.wait(20)
    waiter.join()


def test_a_closed_handover_gives_its_batch_and_then_nothing():
    handover = Handover()
    handover.put(Batch(7, MOTHS, ()))
    handover.close()
    handover.wait_until_free()
    assert handover.take() is not None
    assert handover.take() is None


def test_a_draining_worker_claims_nothing(make, server):
    prefetcher, shared = make()
    shared.stopping.drain("test")
    prefetcher.run()
    assert server.count("claim") == 0
    assert prefetcher._handover.closed


def test_draining_ends_the_wait_for_room(make, server, clock):
    prefetcher, shared = make(unposted_limit=0)

    clock.on_wait = lambda: shared.stopping.drain("test")
    prefetcher.run()
    assert server.count("claim") == 0


def test_what_is_claimed_while_draining_begins_is_given_back(make, server):
    prefetcher, shared = make()
    server.offer(7, [task(1), task(2)])
    original = shared.client.claim

    def claim(*arguments):
        answer = original(*arguments)
        shared.stopping.drain("test")
        return answer

    shared.client.claim = claim
    prefetcher.run()
    assert sorted(server.released) == ["lease-1", "lease-2"]
    assert prefetcher._handover.batches == []


def test_a_broken_prefetcher_still_closes_the_handover(make, server):
    prefetcher, _ = make()
    server.interruptions["claim"].append(ZeroDivisionError("bug"))
    with pytest.raises(ZeroDivisionError):
        prefetcher.run()
    assert prefetcher._handover.closed
