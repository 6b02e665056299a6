WITH lease AS (
    SELECT (value ->> 0)::integer AS ordinal, (value ->> 1)::integer AS attempt
    FROM jsonb_array_elements(%(leases)s::jsonb)
), locked AS (
    SELECT task.id
    FROM headcount_task AS task
    JOIN lease ON task.ordinal = lease.ordinal AND task.attempts = lease.attempt
    WHERE task.job_id = %(job_id)s
      -- Said once more, as a list: for a join alone PostgreSQL may read every task of the job.
      AND task.ordinal = ANY (ARRAY(SELECT ordinal FROM lease))
      AND task.state = 'leased'
    ORDER BY task.id
    FOR UPDATE OF task
)
UPDATE headcount_task
SET state = 'waiting', leased_until = NULL, releases = releases + 1
FROM locked
WHERE headcount_task.id = locked.id
RETURNING headcount_task.ordinal, headcount_task.attempts
