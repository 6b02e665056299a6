INSERT INTO headcount_task (job_id, ordinal, key, payload, state, attempts, releases, worker)
SELECT %(job_id)s, %(start)s + item.position - 1, item.value ->> 0, item.value -> 1, 'waiting', 0, 0, ''
FROM jsonb_array_elements(%(items)s::jsonb) WITH ORDINALITY AS item(value, position)
ON CONFLICT (job_id, ordinal) DO NOTHING
