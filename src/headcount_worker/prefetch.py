"""Claim the next batch and download its images while the one before it is worked on."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import structlog

from headcount_worker.download import Downloader
from headcount_worker.errors import (
    RefusedError,
    ServerAwayError,
    StartError,
    TokenRefusedError,
    UnreachableImageError,
    UnusableImageError,
)
from headcount_worker.handover import Batch, Handover, ReadyTask
from headcount_worker.image import Image
from headcount_worker.leases import LeaseReleaser
from headcount_worker.pipeline import Pipeline
from headcount_worker.shared import Shared
from headcount_worker.wire import ClaimedBatch, ClaimedTask, PostedResult, TaskError

log = structlog.get_logger("headcount_worker")

LOOK_AGAIN_SECONDS: Final = 0.2
SHORTEST_POLL_SECONDS: Final = 1.0


class Prefetcher:
    """Fills the handover with ready batches until there is a reason to stop."""

    def __init__(
        self, shared: Shared, pipelines: Mapping[str, Pipeline], downloader: Downloader, handover: Handover
    ) -> None:
        self._shared = shared
        self._pipelines = pipelines
        self._downloader = downloader
        self._handover = handover
        self._releaser = LeaseReleaser(shared)
        self._failures = 0

    def run(self) -> None:
        """Claim and download until draining, idle for long enough, or one batch was asked for."""
        self._shared.book.touch()
        try:
            while self._may_claim():
                claimed = self._claim()
                if claimed is not None and self._accept(claimed):
                    break
        finally:
            self._handover.close()

    def _may_claim(self) -> bool:
        self._handover.wait_until_free()
        draining = self._shared.stopping.draining
        while not self._shared.outbox.has_room() and not draining.is_set():
            # The outbox is full only while the server is away, when a look every now and then costs nothing.
            self._shared.clock.wait(draining, LOOK_AGAIN_SECONDS)
        return not draining.is_set()

    def _accept(self, claimed: ClaimedBatch) -> bool:
        """Pass on what was claimed, and tell whether it is the last."""
        if claimed.tasks:
            self._pass_on(claimed)
        return self._shared.settings.once or (not claimed.tasks and self._idle_seconds_left() == 0)

    def _claim(self) -> ClaimedBatch | None:
        settings = self._shared.settings
        started = self._shared.clock.monotonic()
        wait_seconds = min(settings.wait_seconds, self._idle_seconds_left())
        try:
            claimed = self._shared.client.claim(list(self._pipelines), settings.batch_size, wait_seconds)
        except ServerAwayError as away:
            self._pause(away.retry_after)
            self._shared.book.touch()
        except TokenRefusedError as error:
            self._shared.stopping.fail(error)
        except RefusedError as error:
            log.warning("claim refused, trying again", reason=str(error))
            self._pause()
        else:
            self._failures = 0
            self._hold(claimed, started + min(wait_seconds, SHORTEST_POLL_SECONDS))
            return claimed
        return None

    def _hold(self, claimed: ClaimedBatch, not_before: float) -> None:
        """Note the claimed leases; without any, see that a server that does not wait is not asked in a tight loop."""
        if claimed.tasks:
            self._shared.book.hold([task.reply_subject for task in claimed.tasks], claimed.ack_wait_seconds)
            log.info("claimed", job_id=claimed.job_id, count=len(claimed.tasks))
            return
        early = not_before - self._shared.clock.monotonic()
        if early > 0:
            self._shared.clock.wait(self._shared.stopping.draining, early)

    def _idle_seconds_left(self) -> float:
        limit = self._shared.settings.exit_when_idle
        return float("inf") if limit is None else max(0.0, limit - self._shared.book.idle_seconds())

    def _pause(self, retry_after: float | None = None) -> None:
        self._failures += 1
        seconds = self._shared.backoff.delay(self._failures, retry_after)
        self._shared.clock.wait(self._shared.stopping.draining, seconds)

    def _pass_on(self, claimed: ClaimedBatch) -> None:
        pipeline = self._pipeline_of(claimed)
        if pipeline is None or claimed.job_id is None:
            self._releaser.release([task.reply_subject for task in claimed.tasks], why="no pipeline for them")
            return
        ready = self._ready_tasks(claimed.job_id, claimed.tasks)
        if ready:
            self._handover.put(Batch(claimed.job_id, pipeline, tuple(ready)))

    def _pipeline_of(self, claimed: ClaimedBatch) -> Pipeline | None:
        if not claimed.pipeline and len(self._pipelines) == 1:
            return next(iter(self._pipelines.values()))
        pipeline = self._pipelines.get(claimed.pipeline)
        if pipeline is None:
            named = f"the pipeline {claimed.pipeline!r}" if claimed.pipeline else "no pipeline"
            error = StartError(f"the server names {named} for job {claimed.job_id}; start one worker per pipeline")
            self._shared.stopping.fail(error)
        return pipeline

    def _ready_tasks(self, job_id: int, tasks: Sequence[ClaimedTask]) -> list[ReadyTask]:
        """Download the images; tasks whose image cannot be had are answered or released here."""
        with ThreadPoolExecutor(
            self._shared.settings.download_threads, thread_name_prefix="headcount-download"
        ) as downloads:
            outcomes = list(downloads.map(self._image_or_reason, tasks))
        pairs = list(zip(tasks, outcomes, strict=True))
        self._answer(job_id, [(task, error) for task, error in pairs if isinstance(error, UnusableImageError)])
        self._release([(task, error) for task, error in pairs if isinstance(error, UnreachableImageError)])
        return [ReadyTask(task.reply_subject, image) for task, image in pairs if isinstance(image, Image)]

    def _image_or_reason(self, task: ClaimedTask) -> Image | UnusableImageError | UnreachableImageError:
        image_id = task.image_id or task.id
        if not task.image_url:
            return Image(id=image_id, payload=task.payload)
        try:
            content = self._downloader.fetch(task.image_url)
        except (UnusableImageError, UnreachableImageError) as error:
            return error
        return Image(id=image_id, url=task.image_url, payload=task.payload, read=lambda: content)

    def _answer(self, job_id: int, failed: Sequence[tuple[ClaimedTask, UnusableImageError]]) -> None:
        for task, error in failed:
            log.warning("image not usable", job_id=job_id, image_id=task.image_id, reason=str(error))
            result = TaskError(error=str(error), image_id=task.image_id or task.id)
            self._shared.outbox.add(job_id, [PostedResult(reply_subject=task.reply_subject, result=result)])

    def _release(self, failed: Sequence[tuple[ClaimedTask, UnreachableImageError]]) -> None:
        if failed:
            self._releaser.release([task.reply_subject for task, _ in failed], why=str(failed[0][1]))
