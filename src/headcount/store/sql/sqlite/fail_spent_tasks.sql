UPDATE headcount_task
SET state = 'failed', error = %(error)s, accounted_at = %(now)s, leased_until = NULL
WHERE job_id = %(job_id)s
  AND ordinal IN (SELECT value FROM json_each(%(ordinals)s))
  AND attempts - releases >= %(max_attempts)s
  AND (state = 'waiting' OR (state = 'leased' AND (leased_until < %(held_until)s OR leased_until > %(latest)s)))
RETURNING id, ordinal, key, 1
