"""What the witnesses say of a job, read from the servers themselves and from the API."""

from datetime import timedelta
from typing import Any

from psycopg_pool import ConnectionPool
from redis import Redis

from headcount.clock import system_clock
from headcount.domain.records import JobRef
from headcount.engines.nats.queue import NatsTaskQueue
from headcount.engines.redis.keys import identity_of
from headcount.engines.redis.state import RedisStateManager
from headcount.ports.state_manager import Snapshot
from headcount.ports.task_queue import QueueDepth
from headcount.testing.waiting import wait_until
from tests.distributed.clients import DETECTIONS, Api
from tests.distributed.site import LEASE_SECONDS, SECRET, Site

DUMPED = ("headcount_task", "headcount_certificate", "headcount_images_detection", "headcount_images_classification")
_LOOKING_AT_ONCE = 8


class Witnesses:
    """Asks PostgreSQL, Redis and NATS themselves."""

    def __init__(self, site: Site) -> None:
        self._site = site
        url, lease = site.servers.redis.url, timedelta(seconds=LEASE_SECONDS)
        self._state = RedisStateManager(url, deployment=site.name, identity=identity_of(SECRET))
        self._queue = NatsTaskQueue([site.servers.nats.url], deployment_name=site.name, lease=lease)
        # PostgreSQL forks for each connection, which costs more than all that is asked over it.
        self._database = ConnectionPool(
            site.database_url, min_size=0, max_size=_LOOKING_AT_ONCE, kwargs={"autocommit": True}, open=True
        )

    def close(self) -> None:
        self._database.close()
        self._queue.close()

    def rows(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        with self._database.connection() as connection:
            return connection.execute(statement, parameters).fetchall()

    def value(self, statement: str, *parameters: Any) -> Any:
        return self.rows(statement, *parameters)[0][0]

    def run_sql(self, statement: str, *parameters: Any) -> None:
        with self._database.connection() as connection:
            connection.execute(statement, parameters)

    def status(self, job_id: int) -> str:
        """What the job's row says at this moment."""
        return str(self.value("SELECT status FROM headcount_job WHERE id = %s", job_id))

    def ledger(self, job_id: int) -> dict[str, int]:
        return dict(self.rows("SELECT state, count(*) FROM headcount_task WHERE job_id = %s GROUP BY 1", job_id))

    def events(self, job_id: int, name: str) -> int:
        return int(self.value("SELECT count(*) FROM headcount_jobevent WHERE job_id = %s AND name = %s", job_id, name))

    def age(self, job_id: int, event: str) -> timedelta:
        """How long ago an event was, by the clock of PostgreSQL, according to the process that wrote it last."""
        statement = "SELECT now() - max(at) FROM headcount_jobevent WHERE job_id = %s AND name = %s"
        age: timedelta = self.value(statement, job_id, event)
        return age

    def state(self, job_id: int) -> list[tuple[int | None, int, int]]:
        """What Redis itself has counted: total, done and failed of each stage."""
        testimony = self._state.snapshot(JobRef(job_id, 1))
        assert isinstance(testimony, Snapshot), testimony
        return [(stage.total, stage.done, stage.failed) for stage in testimony.stages]

    def depth(self, job_id: int) -> QueueDepth | None:
        return self._queue.depth(JobRef(job_id, 1))

    def claimed(self, job: JobRef, limit: int) -> list[int]:
        """Take tasks from the queue itself; returns their ordinals."""
        lease = timedelta(seconds=LEASE_SECONDS)
        return [delivery.ordinal for delivery in self._queue.claim(job, limit, lease=lease, now=system_clock())]

    def dump(self) -> list[tuple[Any, ...]]:
        """Every row of the tables that results touch, with the row's version: one that was rewritten shows."""
        return [
            (table, *row)
            for table in DUMPED
            for row in self.rows(f"SELECT ctid::text, xmin::text, {table}::text FROM {table} ORDER BY id")
        ]

    def is_forgotten(self, job_id: int) -> bool:
        pattern = f"{self._site.name}:{{job:{job_id}:*"
        with Redis.from_url(self._site.servers.redis.url) as redis:
            keys = list(redis.scan_iter(match=pattern))
        return not keys and self.depth(job_id) is None

    def assert_ledger_is_whole(self, job_id: int, total: int) -> None:
        found = self.rows("SELECT ordinal, key FROM headcount_task WHERE job_id = %s ORDER BY ordinal", job_id)
        assert [ordinal for ordinal, _ in found] == list(range(total))
        assert len({key for _, key in found}) == total

    def assert_rows_are_exact(self, job_id: int, *, saved: int, failed: int = 0) -> None:
        """PostgreSQL has the job as a SUCCESS, once, with these numbers everywhere, and each result once."""
        assert self.ledger(job_id) == {key: n for key, n in {"saved": saved, "failed": failed}.items() if n}
        self.assert_ledger_is_whole(job_id, saved + failed)
        self._assert_one_verdict(job_id, saved, failed)
        self._assert_progress(job_id, saved, failed)
        self._assert_results_once(job_id, saved)

    def _assert_one_verdict(self, job_id: int, saved: int, failed: int) -> None:
        statement = "SELECT status, task_total, finished_at IS NOT NULL FROM headcount_job WHERE id = %s"
        assert self.rows(statement, job_id) == [("SUCCESS", saved + failed, True)]
        statement = "SELECT status, waiting, leased, received, saved, failed, cancelled FROM headcount_certificate"
        assert self.rows(f"{statement} WHERE job_id = %s", job_id) == [("SUCCESS", 0, 0, 0, saved, failed, 0)]
        assert self.events(job_id, "job.finished") == 1

    def _assert_progress(self, job_id: int, saved: int, failed: int) -> None:
        statement = "SELECT stage, total, done, failed FROM headcount_jobstage WHERE job_id = %s ORDER BY stage"
        total = saved + failed
        expected = [
            ("collect", total, total, 0),
            ("process", total, saved, failed),
            ("results", total, saved, failed),
        ]
        assert self.rows(statement, job_id) == expected

    def _assert_results_once(self, job_id: int, saved: int) -> None:
        detections = """
            SELECT task.state, count(*) FROM headcount_images_detection AS detection
            JOIN headcount_task AS task ON task.id = detection.task_id AND task.job_id = detection.job_id
            WHERE detection.job_id = %s GROUP BY 1"""
        assert self.rows(detections, job_id) == [("saved", DETECTIONS * saved)]
        classifications = """
            SELECT count(*) FROM headcount_images_classification AS classification
            JOIN headcount_images_detection AS detection ON detection.id = classification.detection_id
            WHERE detection.job_id = %s"""
        assert self.value(classifications, job_id) == DETECTIONS * saved


class Evidence(Witnesses):
    """What proves how a job ended, the API's word included."""

    def __init__(self, site: Site, api: Api) -> None:
        super().__init__(site)
        self._api = api

    def assert_exact(self, job_id: int, *, saved: int, failed: int = 0) -> None:
        """The job is a SUCCESS, once, and every witness has the same numbers; nothing is left in queue and state."""
        self.assert_rows_are_exact(job_id, saved=saved, failed=failed)
        shown = self._api.get(f"jobs/{job_id}")
        assert [shown["status"], *[item["status"] for item in shown["certificates"]]] == ["SUCCESS", "SUCCESS"]
        audit = self._api.get(f"jobs/{job_id}/audit")
        assert audit["clean"], audit
        wait_until(lambda: self.is_forgotten(job_id), f"queue and state forget job {job_id}", 30)


def counted(total: int, done: int, failed: int = 0) -> list[tuple[int | None, int, int]]:
    """What the state manager says of its two stages when so much is accounted."""
    return [(total, done, failed)] * 2
