WITH locked AS (
    SELECT id FROM headcount_task
    WHERE job_id = %(job_id)s
      AND ordinal = ANY (ARRAY(SELECT value::integer FROM jsonb_array_elements_text(%(ordinals)s::jsonb)))
      AND attempts - releases >= %(max_attempts)s
      AND (state = 'waiting' OR (state = 'leased' AND (leased_until < %(held_until)s OR leased_until > %(latest)s)))
    ORDER BY id
    FOR UPDATE
)
UPDATE headcount_task
SET state = 'failed', error = %(error)s, accounted_at = %(now)s, leased_until = NULL
FROM locked
WHERE headcount_task.id = locked.id
RETURNING headcount_task.id, headcount_task.ordinal, headcount_task.key, true
