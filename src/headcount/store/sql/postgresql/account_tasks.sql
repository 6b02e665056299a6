WITH item AS (
    SELECT (value ->> 0)::integer AS ordinal,
           (value ->> 1)::integer AS attempt,
           value ->> 2 AS error,
           value ->> 3 AS named_key
    FROM jsonb_array_elements(%(items)s::jsonb)
), locked AS (
    SELECT task.id, item.error
    FROM headcount_task AS task
    JOIN item ON task.ordinal = item.ordinal
    WHERE task.job_id = %(job_id)s
      -- Said once more, as a list: for a join alone PostgreSQL may read every task of the job.
      AND task.ordinal = ANY (ARRAY(SELECT ordinal FROM item))
      AND task.state IN ('waiting', 'leased', 'received')
      AND (item.named_key IS NULL OR item.named_key = task.key)
      AND (item.error IS NULL OR item.attempt IS NULL OR item.attempt = task.attempts)
    ORDER BY task.id
    FOR UPDATE OF task
)
UPDATE headcount_task
SET state = CASE WHEN locked.error IS NULL THEN 'saved' ELSE 'failed' END,
    error = locked.error,
    accounted_at = %(now)s,
    leased_until = NULL
FROM locked
WHERE headcount_task.id = locked.id
RETURNING headcount_task.id, headcount_task.ordinal, headcount_task.key, headcount_task.state = 'failed'
