WITH locked AS (
    SELECT id FROM headcount_task
    WHERE job_id = %(job_id)s AND state = ANY (ARRAY(SELECT jsonb_array_elements_text(%(states)s::jsonb)))
    ORDER BY id
    FOR UPDATE
)
UPDATE headcount_task
SET state = 'waiting', attempts = attempts + 1, releases = attempts + 1, worker = '',
    leased_until = NULL, accounted_at = NULL, error = NULL
FROM locked
WHERE headcount_task.id = locked.id
