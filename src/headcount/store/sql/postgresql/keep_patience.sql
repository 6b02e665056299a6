WITH item AS (
    SELECT (value ->> 0)::bigint AS job_id,
           (value ->> 1)::integer AS run,
           (value ->> 2)::timestamptz AS watched_at,
           value ->> 3 AS mark,
           (value ->> 4)::timestamptz AS moved_at,
           (value ->> 5)::double precision AS idle_seconds,
           (value ->> 6)::double precision AS unserved_seconds,
           (value ->> 7)::timestamptz AS read_at
    FROM jsonb_array_elements(%(items)s::jsonb)
), locked AS (
    SELECT item.*
    FROM headcount_jobpatience AS patience
    JOIN item ON item.job_id = patience.job_id AND item.read_at = patience.watched_at
    ORDER BY patience.job_id
    FOR UPDATE OF patience
), kept AS (
    UPDATE headcount_jobpatience AS patience
    SET run = locked.run,
        watched_at = locked.watched_at,
        mark = locked.mark,
        moved_at = locked.moved_at,
        idle_seconds = locked.idle_seconds,
        unserved_seconds = locked.unserved_seconds
    FROM locked
    WHERE patience.job_id = locked.job_id
)
INSERT INTO headcount_jobpatience (job_id, run, watched_at, mark, moved_at, idle_seconds, unserved_seconds)
SELECT item.job_id, item.run, item.watched_at, item.mark, item.moved_at, item.idle_seconds, item.unserved_seconds
FROM item
JOIN headcount_job AS job ON job.id = item.job_id
WHERE item.read_at IS NULL
ORDER BY item.job_id
FOR KEY SHARE OF job
ON CONFLICT (job_id) DO NOTHING
