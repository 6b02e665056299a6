WITH locked AS (
    SELECT id FROM headcount_task
    WHERE job_id = %(job_id)s
      AND ordinal = ANY (ARRAY(SELECT value::integer FROM jsonb_array_elements_text(%(ordinals)s::jsonb)))
      AND state IN ('waiting', 'leased')
      AND attempts - releases < %(max_attempts)s
    ORDER BY id
    FOR UPDATE
)
UPDATE headcount_task
SET state = 'leased', attempts = attempts + 1, worker = %(worker)s, leased_until = %(leased_until)s
FROM locked
WHERE headcount_task.id = locked.id
RETURNING headcount_task.ordinal, headcount_task.key, headcount_task.payload, headcount_task.attempts
