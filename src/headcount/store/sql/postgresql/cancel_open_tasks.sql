WITH locked AS (
    SELECT id FROM headcount_task
    WHERE job_id = %(job_id)s AND state IN ('waiting', 'leased', 'received')
    ORDER BY id
    FOR UPDATE
)
UPDATE headcount_task
SET state = 'cancelled', accounted_at = %(now)s, leased_until = NULL
FROM locked
WHERE headcount_task.id = locked.id
