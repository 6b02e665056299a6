INSERT INTO headcount_task (job_id, ordinal, key, payload, state, attempts, releases, worker)
SELECT %(job_id)s, %(start)s + item.key, json_extract(item.value, '$[0]'), json_extract(item.value, '$[1]'), 'waiting', 0, 0, ''
FROM json_each(%(items)s) AS item
WHERE true
ON CONFLICT (job_id, ordinal) DO NOTHING
