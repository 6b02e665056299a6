INSERT INTO headcount_jobstage (job_id, stage, total, done, failed, counts, updated_at)
SELECT %(job_id)s, value ->> 0, (value ->> 1)::bigint, (value ->> 2)::bigint, (value ->> 3)::bigint, '{}'::jsonb, %(now)s
FROM jsonb_array_elements(%(stages)s::jsonb)
ORDER BY value ->> 0
ON CONFLICT (job_id, stage) DO UPDATE
SET total = coalesce(excluded.total, headcount_jobstage.total),
    done = greatest(headcount_jobstage.done, excluded.done),
    failed = greatest(headcount_jobstage.failed, excluded.failed),
    updated_at = CASE
        WHEN excluded.done > headcount_jobstage.done OR excluded.failed > headcount_jobstage.failed
        THEN excluded.updated_at ELSE headcount_jobstage.updated_at END
