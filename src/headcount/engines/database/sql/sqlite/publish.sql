INSERT INTO headcount_database_queuemessage (job_id, run, ordinal, ready, deliveries)
SELECT %(job_id)s, %(run)s, value, true, 0
FROM json_each(%(ordinals)s)
WHERE true
ON CONFLICT (job_id, run, ordinal) DO NOTHING
