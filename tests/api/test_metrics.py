"""``/metrics``: what Prometheus reads, from one process or from all that share a folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.test import Client
from prometheus_client.parser import text_string_to_metric_families

from headcount import metrics


def families(text: str) -> dict[str, dict[tuple[str, ...], float]]:
    return {
        family.name: {tuple(sample.labels.values()): sample.value for sample in family.samples}
        for family in text_string_to_metric_families(text)
    }


def test_whoever_asks_is_answered_in_the_form_of_prometheus() -> None:
    metrics.repairs.labels("republish").inc(3)
    answer = Client().get("/metrics")
    assert answer.status_code == 200
    assert answer["Content-Type"].startswith("text/plain; version=")
    assert "no-store" in answer["Cache-Control"]
    assert families(answer.content.decode())["headcount_repairs"]["republish",] >= 3


@pytest.mark.parametrize("method", ["post", "put", "delete", "patch"])
def test_it_can_only_be_read(method: str) -> None:
    answer = getattr(Client(), method)("/metrics")
    assert answer.status_code == 405
    assert answer["Content-Type"] == "application/problem+json"


def test_every_metric_is_described_in_the_reference() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "metrics.md").read_text(encoding="utf-8")
    text = Client().get("/metrics").content.decode()
    ours = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE headcount_")]
    described = [name for name in ours if not name.endswith("_created")]
    assert len(described) == 7
    assert [name for name in described if f"`{name}" not in page] == []


COUNT = "from headcount import metrics; metrics.repairs.labels('revoke').inc(2); metrics.tick_jobs.set({jobs})"
SHOW = "from headcount import metrics; print(metrics.exposition().decode())"


def run(statement: str, folder: Path) -> str:
    environment = {**os.environ, metrics.SHARED_DIRECTORY: str(folder)}
    command = [sys.executable, "-c", statement]
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout


def test_processes_that_share_a_folder_are_added_up(tmp_path: Path) -> None:
    for jobs in (10, 20):
        run(COUNT.format(jobs=jobs), tmp_path)
    told = families(run(SHOW, tmp_path))
    assert told["headcount_repairs"]["revoke",] == 4
    assert told["headcount_health_tick_jobs"][()] == 20, "the last tick's, whichever process made it"
