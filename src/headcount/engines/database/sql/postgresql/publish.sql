INSERT INTO headcount_database_queuemessage (job_id, run, ordinal, ready, deliveries)
SELECT %(job_id)s, %(run)s, value::integer, true, 0
FROM jsonb_array_elements_text(%(ordinals)s::jsonb)
ON CONFLICT (job_id, run, ordinal) DO NOTHING
