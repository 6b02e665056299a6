INSERT INTO headcount_jobstage (job_id, stage, total, done, failed, counts, updated_at)
SELECT %(job_id)s, json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'),
       json_extract(value, '$[3]'), '{}', %(now)s
FROM json_each(%(stages)s)
WHERE true
ON CONFLICT (job_id, stage) DO UPDATE
SET total = coalesce(excluded.total, headcount_jobstage.total),
    done = max(headcount_jobstage.done, excluded.done),
    failed = max(headcount_jobstage.failed, excluded.failed),
    updated_at = CASE
        WHEN excluded.done > headcount_jobstage.done OR excluded.failed > headcount_jobstage.failed
        THEN excluded.updated_at ELSE headcount_jobstage.updated_at END
