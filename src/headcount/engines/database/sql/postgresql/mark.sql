INSERT INTO headcount_database_statemark (job_id, run, stage, ordinal, failed)
SELECT %(job_id)s, %(run)s, value ->> 0, (value ->> 1)::integer, (value ->> 2)::boolean
FROM (
    -- As a foreign key would: a rebuild or a clean-up waits for the marks of this transaction, another count does not.
    SELECT total FROM headcount_database_runstate WHERE job_id = %(job_id)s AND run = %(run)s FOR KEY SHARE
) AS counted, jsonb_array_elements(%(marks)s::jsonb)
WHERE total > (value ->> 1)::integer
ORDER BY value ->> 0, (value ->> 1)::integer
ON CONFLICT (job_id, run, stage, ordinal) DO NOTHING
RETURNING stage, failed
