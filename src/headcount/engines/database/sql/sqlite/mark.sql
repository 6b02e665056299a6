INSERT INTO headcount_database_statemark (job_id, run, stage, ordinal, failed)
SELECT %(job_id)s, %(run)s, json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]')
FROM json_each(%(marks)s)
WHERE json_extract(value, '$[1]') < (
    SELECT total FROM headcount_database_runstate WHERE job_id = %(job_id)s AND run = %(run)s
)
ON CONFLICT (job_id, run, stage, ordinal) DO NOTHING
RETURNING stage, failed
