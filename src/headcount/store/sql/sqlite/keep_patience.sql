UPDATE headcount_jobpatience
SET run = json_extract(item.value, '$[1]'),
    watched_at = json_extract(item.value, '$[2]'),
    mark = json_extract(item.value, '$[3]'),
    moved_at = json_extract(item.value, '$[4]'),
    idle_seconds = json_extract(item.value, '$[5]'),
    unserved_seconds = json_extract(item.value, '$[6]')
FROM json_each(%(items)s) AS item
WHERE headcount_jobpatience.job_id = json_extract(item.value, '$[0]')
  AND headcount_jobpatience.watched_at = json_extract(item.value, '$[7]');
INSERT INTO headcount_jobpatience (job_id, run, watched_at, mark, moved_at, idle_seconds, unserved_seconds)
SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), json_extract(value, '$[2]'), json_extract(value, '$[3]'),
       json_extract(value, '$[4]'), json_extract(value, '$[5]'), json_extract(value, '$[6]')
FROM json_each(%(items)s)
WHERE json_extract(value, '$[7]') IS NULL
  AND EXISTS (SELECT 1 FROM headcount_job WHERE headcount_job.id = json_extract(value, '$[0]'))
ON CONFLICT (job_id) DO NOTHING
