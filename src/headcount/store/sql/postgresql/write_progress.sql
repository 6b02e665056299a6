INSERT INTO headcount_jobstage (job_id, run, stage, total, done, failed, counts, updated_at)
SELECT %(job_id)s, %(run)s, value ->> 0, (value ->> 1)::bigint, (value ->> 2)::bigint, (value ->> 3)::bigint, '{}'::jsonb, %(now)s
FROM jsonb_array_elements(%(stages)s::jsonb)
ORDER BY value ->> 0
ON CONFLICT (job_id, stage) DO UPDATE
SET run = excluded.run,
    total = coalesce(excluded.total, headcount_jobstage.total),
    done = CASE WHEN excluded.run > headcount_jobstage.run OR greatest(headcount_jobstage.done, excluded.done)
                  + greatest(headcount_jobstage.failed, excluded.failed) > coalesce(excluded.total, headcount_jobstage.total)
                THEN excluded.done ELSE greatest(headcount_jobstage.done, excluded.done) END,
    failed = CASE WHEN excluded.run > headcount_jobstage.run OR greatest(headcount_jobstage.done, excluded.done)
                    + greatest(headcount_jobstage.failed, excluded.failed) > coalesce(excluded.total, headcount_jobstage.total)
                  THEN excluded.failed ELSE greatest(headcount_jobstage.failed, excluded.failed) END,
    updated_at = CASE
        WHEN excluded.run > headcount_jobstage.run
          OR excluded.done > headcount_jobstage.done OR excluded.failed > headcount_jobstage.failed
        THEN excluded.updated_at ELSE headcount_jobstage.updated_at END
WHERE excluded.run > headcount_jobstage.run
   OR excluded.run = headcount_jobstage.run
      AND (excluded.done > headcount_jobstage.done OR excluded.failed > headcount_jobstage.failed
           OR coalesce(excluded.total, headcount_jobstage.total) IS DISTINCT FROM headcount_jobstage.total)
