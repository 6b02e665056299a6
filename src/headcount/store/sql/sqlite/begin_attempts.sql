UPDATE headcount_task
SET state = 'leased', attempts = attempts + 1, worker = %(worker)s, leased_until = %(leased_until)s
WHERE job_id = %(job_id)s
  AND ordinal IN (SELECT value FROM json_each(%(ordinals)s))
  AND state IN ('waiting', 'leased')
  AND attempts - releases < %(max_attempts)s
RETURNING ordinal, key, payload, attempts
