UPDATE headcount_task
SET state = 'cancelled', accounted_at = %(now)s, leased_until = NULL
WHERE job_id = %(job_id)s AND state IN ('waiting', 'leased', 'received')
