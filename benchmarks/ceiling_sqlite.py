"""The ceiling of the embedded deployment: the same work by one plain process, with no framework, no HTTP, no checks.

It writes the tasks, leases them in batches, makes each result, reads its JSON as a server would, and saves the rows and
two marks a task in one transaction of set-based statements, as fast as SQLite takes them.
"""

import json
import sqlite3
import tempfile
import time
from contextlib import closing
from pathlib import Path

from benchmarks.workload import BATCH, result_of

_SCHEMA = """
PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA cache_size=-65536;
CREATE TABLE task (id integer PRIMARY KEY, ordinal integer UNIQUE, payload text, state text, attempts integer);
CREATE TABLE detection (
    id integer PRIMARY KEY, task_id integer, position integer, x1 real, y1 real, x2 real, y2 real, algorithm text,
    detected_at text, UNIQUE (task_id, position));
CREATE TABLE classification (
    id integer PRIMARY KEY, detection_id integer, position integer, label text, scores text, algorithm text,
    terminal boolean, classified_at text, UNIQUE (detection_id, position));
CREATE TABLE mark (stage text, ordinal integer, UNIQUE (stage, ordinal));
"""
_LEASE = """
UPDATE task SET state = 'leased', attempts = attempts + 1
WHERE ordinal IN (SELECT value FROM json_each(?)) RETURNING id, ordinal, payload
"""
_SAVE = (
    "UPDATE task SET state = 'saved' WHERE state = 'leased' AND id IN (SELECT value ->> 0 FROM json_each(:tasks))",
    "INSERT INTO mark SELECT 'process', value ->> 1 FROM json_each(:tasks)",
    "INSERT INTO mark SELECT 'results', value ->> 1 FROM json_each(:tasks)",
    """
    INSERT INTO detection (task_id, position, x1, y1, x2, y2, algorithm, detected_at)
    SELECT item.value ->> 0, box.key, box.value ->> '$.bbox.x1', box.value ->> '$.bbox.y1', box.value ->> '$.bbox.x2',
           box.value ->> '$.bbox.y2', box.value ->> '$.algorithm.key', box.value ->> 'timestamp'
    FROM json_each(:tasks) AS item, json_each(item.value, '$[2].detections') AS box
    """,
    """
    INSERT INTO classification (detection_id, position, label, scores, algorithm, terminal, classified_at)
    SELECT detection.id, label.key, label.value ->> 'classification', label.value -> 'scores',
           label.value ->> '$.algorithm.key', label.value ->> 'terminal', label.value ->> 'timestamp'
    FROM json_each(:tasks) AS item, json_each(item.value, '$[2].detections') AS box
    JOIN detection ON detection.task_id = item.value ->> 0 AND detection.position = box.key,
    json_each(box.value, '$.classifications') AS label
    """,
)


def measure(size: int) -> float:
    """Work ``size`` tasks off, from writing them to the last commit; returns tasks/s."""
    with (
        tempfile.TemporaryDirectory(prefix="headcount-ceiling-") as folder,
        closing(sqlite3.connect(Path(folder) / "ceiling.sqlite3", isolation_level=None)) as connection,
    ):
        connection.executescript(_SCHEMA)
        begun = time.perf_counter()
        _collect(connection, size)
        for start in range(0, size, BATCH):
            _save(connection, _results(connection, range(start, min(start + BATCH, size))))
        seconds = time.perf_counter() - begun
        saved = connection.execute("SELECT count(*) FROM classification").fetchone()[0]
    if saved != 3 * size:
        raise SystemExit(f"the plain process saved {saved} classifications of {3 * size}")
    return size / seconds


def _collect(connection: sqlite3.Connection, size: int) -> None:
    payload = json.dumps({"name": "x" * 160, "width": 1600, "height": 1200})
    connection.execute("BEGIN IMMEDIATE")
    rows = ((ordinal, payload) for ordinal in range(size))
    connection.executemany("INSERT INTO task (ordinal, payload, state, attempts) VALUES (?, ?, 'waiting', 0)", rows)
    connection.execute("COMMIT")


def _results(connection: sqlite3.Connection, ordinals: range) -> str:
    leased = connection.execute(_LEASE, (json.dumps(list(ordinals)),)).fetchall()
    return json.dumps([[task, ordinal, result_of(str(ordinal))] for task, ordinal, _ in leased])


def _save(connection: sqlite3.Connection, body: str) -> None:
    tasks = json.dumps(json.loads(body))
    connection.execute("BEGIN IMMEDIATE")
    for statement in _SAVE:
        connection.execute(statement, {"tasks": tasks})
    connection.execute("COMMIT")
