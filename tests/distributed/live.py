"""A running deployment with a project, a pipeline and collections of images, ready for jobs."""

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

from headcount.testing.servers import PrivateServer
from headcount.testing.waiting import wait_until
from tests.distributed.clients import Api, Crew
from tests.distributed.evidence import Evidence
from tests.distributed.proxy import Proxy
from tests.distributed.site import Site

FINAL_WITHIN_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Live:
    """What a test works with; the broker is there where it is a server of our own, the proxy where one is before it."""

    site: Site
    api: Api
    evidence: Evidence
    project_id: int
    broker: PrivateServer | None = None
    proxy: Proxy | None = None

    def collection(self, images: int) -> str:
        """The name of a collection of so many images, which are rows only."""
        name = f"night of {images}"
        if self.evidence.rows("SELECT 1 FROM headcount_images_collection WHERE name = %s", name):
            return name
        collection = "INSERT INTO headcount_images_collection (project_id, name) VALUES (%s, %s) RETURNING id"
        pictures = """
            INSERT INTO headcount_images_image (collection_id, name, path, width, height, size)
            SELECT %s, number || '.jpg', '/night/' || number || '.jpg', 160, 120, 1000
            FROM generate_series(1, %s) AS number"""
        (made,) = self.evidence.rows(collection, self.project_id, name)
        self.evidence.run_sql(pictures, made[0], images)
        return name

    def submit(self, tasks: int) -> int:
        return self.api.submit(self.collection(tasks))

    def submit_published(self, tasks: int) -> int:
        """Submit a job and return once workers can claim all of it."""
        job_id = self.submit(tasks)
        self.wait_until_published(job_id)
        return job_id

    def wait_until_published(self, job_id: int) -> None:
        """Return once workers can claim all of a job; its row is asked, so that the deployment has nothing to do."""
        published = "SELECT published_at IS NOT NULL FROM headcount_job WHERE id = %s"
        wait_until(lambda: self.evidence.value(published, job_id), f"job {job_id} is published", 60)

    def crew(
        self, job_id: int, *, workers: int = 4, batch: int = 10, hold_at: int | None = None, pause: float = 0.05
    ) -> Crew:
        return Crew(self.api, job_id, workers=workers, batch=batch, hold_at=hold_at, pause=pause)

    def wait_until_final(self, job_id: int, within: float = FINAL_WITHIN_SECONDS) -> None:
        wait_until(lambda: self.api.is_final(job_id), f"job {job_id} has ended", within)


@contextmanager
def live(site: Site, url: str, broker: PrivateServer | None = None, proxy: Proxy | None = None) -> Iterator[Live]:
    """Prepare a running deployment for jobs."""
    scopes = [word for scope in ("submit", "work", "read") for word in ("--scope", scope)]
    token = json.loads(site.run("headcount", "token", "create", *scopes, "--json"))["token"]
    with closing(Api(url, token)) as api, closing(Evidence(site, api)) as evidence:
        yield Live(site, api, evidence, api.offer_pipeline(), broker, proxy)
