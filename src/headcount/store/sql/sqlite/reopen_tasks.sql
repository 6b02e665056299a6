UPDATE headcount_task
SET state = 'waiting', attempts = attempts + 1, releases = attempts + 1, worker = '',
    leased_until = NULL, accounted_at = NULL, error = NULL
WHERE job_id = %(job_id)s AND state IN (SELECT value FROM json_each(%(states)s))
