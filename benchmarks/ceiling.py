"""The ceiling: the same work by plain clients, with no framework, no HTTP and no checks.

As many processes as the benchmark has clients pull batches from NATS, count the attempts in PostgreSQL, write the same
rows in one transaction, set the same bits in Redis and acknowledge, as fast as the servers let them.
"""

import asyncio
import json
import time
from dataclasses import dataclass

import nats
import psycopg
import redis
from nats.js.api import AckPolicy, ConsumerConfig, RetentionPolicy, StreamConfig

from benchmarks.workload import BATCH, client_processes, result_of, warm_up

_SCHEMA = """
DROP SCHEMA IF EXISTS ceiling CASCADE;
CREATE SCHEMA ceiling;
CREATE TABLE ceiling.task (
    id bigserial PRIMARY KEY, ordinal integer UNIQUE, payload jsonb, state text, attempts integer);
CREATE TABLE ceiling.detection (
    id bigserial PRIMARY KEY, task_id bigint, position integer, x1 float, y1 float, x2 float, y2 float, algorithm text,
    detected_at timestamptz, UNIQUE (task_id, position));
CREATE TABLE ceiling.classification (
    id bigserial PRIMARY KEY, detection_id bigint, position integer, label text, scores jsonb, algorithm text,
    terminal boolean, classified_at timestamptz, UNIQUE (detection_id, position));
"""
_BEGIN = """
UPDATE ceiling.task SET state = 'leased', attempts = attempts + 1 WHERE ordinal = ANY(%s) RETURNING ordinal, payload
"""
_ACCOUNT = """
WITH item AS (
    SELECT ordinal, result FROM jsonb_to_recordset(%s::jsonb) AS item(ordinal integer, result jsonb)
), marked AS (
    UPDATE ceiling.task SET state = 'saved' FROM item WHERE task.ordinal = item.ordinal AND state = 'leased'
    RETURNING task.id, item.result
), box AS (
    SELECT marked.id AS task_id, detection.value, detection.position
    FROM marked, jsonb_array_elements(marked.result -> 'detections') WITH ORDINALITY AS detection(value, position)
), saved AS (
    INSERT INTO ceiling.detection (task_id, position, x1, y1, x2, y2, algorithm, detected_at)
    SELECT task_id, position, (value #>> '{bbox,x1}')::float, (value #>> '{bbox,y1}')::float,
           (value #>> '{bbox,x2}')::float, (value #>> '{bbox,y2}')::float, value #>> '{algorithm,key}',
           (value ->> 'timestamp')::timestamptz
    FROM box RETURNING id, task_id, position
)
INSERT INTO ceiling.classification (detection_id, position, label, scores, algorithm, terminal, classified_at)
SELECT saved.id, 1, label ->> 'classification', label -> 'scores', label #>> '{algorithm,key}',
       (label ->> 'terminal')::boolean, (label ->> 'timestamp')::timestamptz
FROM saved JOIN box USING (task_id, position), jsonb_array_elements(box.value -> 'classifications') AS label
"""
_STREAM, _SUBJECT, _CONSUMER = "CEILING", "ceiling.tasks", "ceiling"


@dataclass(frozen=True, slots=True)
class Ceiling:
    """What plain clients reach: tasks/s, and the seconds they take to save, count and acknowledge each batch."""

    tasks_a_second: float
    posts: list[float]


@dataclass(frozen=True, slots=True)
class _Worked:
    """What one plain client did."""

    tasks: int
    finished: float
    posts: list[float]


def measure(environment: dict[str, str], size: int, clients: int) -> Ceiling:
    """Work ``size`` tasks off with plain clients, from writing them to the last acknowledgement."""
    with client_processes(clients) as pool:
        pool.map(_load, range(clients), chunksize=1)
        begun = time.time()
        asyncio.run(_publish(environment, size))
        worked = pool.map(_work, [environment] * clients, chunksize=1)
    seconds = max(client.finished for client in worked) - begun
    done = sum(client.tasks for client in worked)
    if done != size:
        raise SystemExit(f"the plain clients worked on {done} tasks of {size}")
    return Ceiling(size / seconds, [seconds for client in worked for seconds in client.posts])


async def _publish(environment: dict[str, str], size: int) -> None:
    payload = json.dumps({"name": "x" * 160, "width": 1600, "height": 1200})
    with psycopg.connect(environment["HEADCOUNT_DATABASE_URL"], autocommit=True) as connection:
        connection.execute(_SCHEMA)
        with connection.cursor().copy("COPY ceiling.task (ordinal, payload, state, attempts) FROM STDIN") as copy:
            for ordinal in range(size):
                copy.write_row((ordinal, payload, "waiting", 0))
    client = await nats.connect(environment["HEADCOUNT_QUEUE_URL"])
    jetstream = client.jetstream(publish_async_max_pending=4000)
    await jetstream.add_stream(StreamConfig(_STREAM, subjects=[_SUBJECT], retention=RetentionPolicy.WORK_QUEUE))
    await jetstream.purge_stream(_STREAM)
    await jetstream.add_consumer(
        _STREAM, ConsumerConfig(durable_name=_CONSUMER, ack_policy=AckPolicy.EXPLICIT, max_ack_pending=100_000)
    )
    for ordinal in range(size):
        await jetstream.publish_async(_SUBJECT, str(ordinal).encode(), wait_stall=30)
    await jetstream.publish_async_completed()
    await client.close()


def _load(number: int) -> int:
    """Have a process load this module, and the servers' clients with it."""
    return warm_up(number)


def _work(environment: dict[str, str]) -> _Worked:
    return asyncio.run(_work_off(environment))


async def _work_off(environment: dict[str, str]) -> _Worked:
    client = await nats.connect(environment["HEADCOUNT_QUEUE_URL"])
    subscription = await client.jetstream().pull_subscribe_bind(_CONSUMER, _STREAM)
    counters = redis.Redis.from_url(environment["HEADCOUNT_STATE_URL"])
    done = 0
    posts: list[float] = []
    finished = 0.0
    with psycopg.connect(environment["HEADCOUNT_DATABASE_URL"], autocommit=True) as connection:
        while True:
            try:
                messages = await subscription.fetch(BATCH, timeout=0.5)
            except TimeoutError:
                break
            ordinals = [int(message.data) for message in messages]
            connection.execute(_BEGIN, (ordinals,)).fetchall()
            results = [{"ordinal": ordinal, "result": result_of(str(ordinal))} for ordinal in ordinals]
            body = json.dumps(results)
            begun = time.perf_counter()
            connection.execute(_ACCOUNT, (body,))
            pipeline = counters.pipeline()
            for ordinal in ordinals:
                pipeline.setbit("ceiling:process", ordinal, 1)
                pipeline.setbit("ceiling:results", ordinal, 1)
            pipeline.execute()
            for message in messages[:-1]:
                await message.ack()
            await messages[-1].ack_sync()
            posts.append(time.perf_counter() - begun)
            done += len(messages)
            finished = time.time()
    await client.close()
    return _Worked(done, finished, posts)
