"""The pull worker: claim, work, post, until told to stop."""

from collections.abc import Callable, Sequence
from threading import Event, Thread
from typing import Final

import httpx
import structlog

from headcount_worker.backoff import Backoff
from headcount_worker.client import HeadcountClient
from headcount_worker.clock import SYSTEM_CLOCK, Clock
from headcount_worker.download import Downloader
from headcount_worker.errors import RefusedError, StartError
from headcount_worker.handover import Batch, Handover, ReadyTask
from headcount_worker.leases import LeaseKeeper, LeaseReleaser
from headcount_worker.pipeline import Pipeline
from headcount_worker.poster import Poster
from headcount_worker.prefetch import Prefetcher
from headcount_worker.run import run_pipeline
from headcount_worker.settings import WorkerSettings
from headcount_worker.shared import Shared
from headcount_worker.startup import introduce
from headcount_worker.stopping import Stopping
from headcount_worker.wire import PostedResult

log = structlog.get_logger("headcount_worker")

EXIT_DONE: Final = 0
EXIT_INCOMPLETE: Final = 1
EXIT_REFUSED: Final = 2


class Worker:
    """One worker process's work. ``run`` returns when it has ended, however it ended.

    Three helper threads surround the one that calls ``run``: ``headcount-prefetch`` claims and downloads,
    ``headcount-post`` posts, ``headcount-leases`` extends. The pipeline runs in the calling thread.
    """

    def __init__(
        self,
        settings: WorkerSettings,
        pipelines: Sequence[Pipeline],
        stopping: Stopping,
        clock: Clock = SYSTEM_CLOCK,
        backoff: Backoff | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        client = HeadcountClient(settings, clock, transport)
        self._pipelines = pipelines
        self._shared = Shared.around(settings, client, stopping, clock, backoff or Backoff())
        self._downloader = Downloader(settings, stopping.draining, clock, transport=transport)
        self._handover = Handover()
        self._keeper = LeaseKeeper(self._shared)
        self._poster = Poster(self._shared)
        self._posted = Event()
        self._helpers: list[Thread] = []

    def run(self) -> int:
        """Work until done or told to stop; gives the process's exit code.

        0: ended in good order. 1: results were lost or an error nobody foresaw came up. 2: the server refuses this
        worker, or it is set up wrongly.
        """
        try:
            if introduce(self._shared, self._pipelines):
                self._start_helpers()
                self._work_until_closed()
        except Exception as error:  # noqa: BLE001 - whatever it was, what is computed is still posted
            self._shared.stopping.fail(error)
        finally:
            self._finish()
        return self._exit_code()

    def _start_helpers(self) -> None:
        known = {pipeline.slug: pipeline for pipeline in self._pipelines}
        prefetcher = Prefetcher(self._shared, known, self._downloader, self._handover)
        self._start("headcount-prefetch", prefetcher.run)
        self._start("headcount-post", self._post)
        self._start("headcount-leases", self._keeper.run)

    def _work_until_closed(self) -> None:
        while (batch := self._handover.take()) is not None:
            self._work_through(batch)

    def _work_through(self, batch: Batch) -> None:
        portions = batch.portions()
        while portions and not self._shared.stopping.draining.is_set():
            self._work_on(batch, portions.pop(0))
        not_begun = [task.lease for portion in portions for task in portion]
        if not_begun:
            LeaseReleaser(self._shared).release(not_begun, why="not begun")

    def _work_on(self, batch: Batch, portion: Sequence[ReadyTask]) -> None:
        tasks = self._still_wanted(portion)
        if not tasks:
            return
        outcomes = run_pipeline(batch.pipeline, [task.image for task in tasks], self._shared.clock)
        results = [
            PostedResult(reply_subject=task.lease, result=outcome.result)
            for task, outcome in zip(tasks, outcomes, strict=True)
        ]
        self._shared.outbox.add(batch.job_id, results)

    def _still_wanted(self, portion: Sequence[ReadyTask]) -> list[ReadyTask]:
        lost = [task.lease for task in portion if self._shared.book.is_lost(task.lease)]
        if lost:
            log.info("skipped, their leases are lost", count=len(lost))
            self._shared.book.drop(lost)
        return [task for task in portion if task.lease not in lost]

    def _finish(self) -> None:
        """Post what is computed, as long as that may take, and join every thread."""
        self._handover.close()
        self._shared.outbox.close()
        if self._helpers and not self._shared.clock.wait(self._posted, self._shared.settings.drain_seconds):
            self._shared.stopping.abandon()
        self._keeper.end()
        for helper in self._helpers:
            helper.join()
        self._downloader.close()
        self._shared.client.close()

    def _exit_code(self) -> int:
        error = self._shared.stopping.error
        lost = self._shared.outbox.unsettled
        if lost:
            log.error("results lost: the server did not take them in time", count=lost)
        if isinstance(error, (StartError, RefusedError)):
            return EXIT_REFUSED
        return EXIT_INCOMPLETE if lost or error else EXIT_DONE

    def _post(self) -> None:
        try:
            self._poster.run()
        finally:
            self._posted.set()

    def _start(self, name: str, work: Callable[[], None]) -> None:
        helper = Thread(name=name, target=self._guarded, args=(work,))
        self._helpers.append(helper)
        helper.start()

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 - a helper that dies unheard would leave the worker half alive
            self._shared.stopping.fail(error)
