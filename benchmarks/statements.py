"""Counts the SQL statements of one claimed and one posted batch: ``python -m benchmarks.statements TOKEN COLLECTION``.

It asks the application of the deployment in the environment without a web server, for a job of its own. ``BEGIN``
counts as a statement. What is done only now and then (noting a worker, sweeping leases, writing progress) falls into
the batches before the one that is counted.
"""

import json
import subprocess
import sys
from typing import Any

from benchmarks.workload import BATCH, PIPELINE, result_of

_BATCHES_BEFORE = 3


def counted(environment: dict[str, str], token: str, collection: str) -> str:
    """Return a line that tells the number of statements of a claim and of a post."""
    command = [sys.executable, "-m", "benchmarks.statements", token, collection]
    return subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def main() -> None:
    """Print how many statements a claim and a post of a batch take."""
    from django.db import connection  # noqa: PLC0415
    from django.test import Client  # noqa: PLC0415
    from django.test.utils import CaptureQueriesContext  # noqa: PLC0415

    import headcount.cli.setup  # noqa: F401, PLC0415 - sets Django up, in this process only
    from headcount.domain.records import JobRef  # noqa: PLC0415
    from headcount.flow.run_job import run_job  # noqa: PLC0415
    from headcount.wiring import deployment  # noqa: PLC0415

    token, collection = sys.argv[1:]
    client = Client(headers={"Authorization": f"Bearer {token}"})

    def post(path: str, body: dict[str, Any]) -> Any:
        return client.post(f"/api/v2/{path}", data=json.dumps(body), content_type="application/json").json()

    job = post("jobs", {"kind": "ml", "pipeline": PIPELINE, "config": {"collection": collection}})["id"]
    run_job(deployment(), JobRef(job, 1))
    for _ in range(_BATCHES_BEFORE):
        with CaptureQueriesContext(connection) as claim:
            tasks = post("tasks/claim", {"pipelines": [PIPELINE], "batch_size": BATCH})["tasks"]
        results = [{"reply_subject": task["reply_subject"], "result": result_of(task["image_id"])} for task in tasks]
        with CaptureQueriesContext(connection) as posted:
            post(f"jobs/{job}/result", {"results": results})
    print(f"SQL statements for a batch of {BATCH}: {len(claim)} to claim, {len(posted)} to post")
    post(f"jobs/{job}/cancel", {})


if __name__ == "__main__":
    main()
