INSERT INTO headcount_jobstage (job_id, run, stage, total, done, failed, counts, updated_at)
SELECT %(job_id)s, %(run)s, json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'),
       json_extract(value, '$[3]'), '{}', %(now)s
FROM json_each(%(stages)s)
WHERE true
ON CONFLICT (job_id, stage) DO UPDATE
SET run = excluded.run,
    total = coalesce(excluded.total, headcount_jobstage.total),
    done = CASE WHEN excluded.run > headcount_jobstage.run OR max(headcount_jobstage.done, excluded.done)
                  + max(headcount_jobstage.failed, excluded.failed) > coalesce(excluded.total, headcount_jobstage.total)
                THEN excluded.done ELSE max(headcount_jobstage.done, excluded.done) END,
    failed = CASE WHEN excluded.run > headcount_jobstage.run OR max(headcount_jobstage.done, excluded.done)
                    + max(headcount_jobstage.failed, excluded.failed) > coalesce(excluded.total, headcount_jobstage.total)
                  THEN excluded.failed ELSE max(headcount_jobstage.failed, excluded.failed) END,
    updated_at = CASE
        WHEN excluded.run > headcount_jobstage.run
          OR excluded.done > headcount_jobstage.done OR excluded.failed > headcount_jobstage.failed
        THEN excluded.updated_at ELSE headcount_jobstage.updated_at END
WHERE excluded.run > headcount_jobstage.run
   OR excluded.run = headcount_jobstage.run
      AND (excluded.done > headcount_jobstage.done OR excluded.failed > headcount_jobstage.failed
           OR coalesce(excluded.total, headcount_jobstage.total) IS NOT headcount_jobstage.total)
