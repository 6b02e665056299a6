-- The ids are looked up one by one: given a join, the planner reads every task of the job for every item.
UPDATE headcount_task
SET state = CASE WHEN item.error IS NULL THEN 'saved' ELSE 'failed' END,
    error = item.error,
    accounted_at = %(now)s,
    leased_until = NULL
FROM (
    SELECT (
               SELECT id FROM headcount_task AS task
               WHERE task.job_id = %(job_id)s AND task.ordinal = json_extract(value, '$[0]')
           ) AS task_id,
           json_extract(value, '$[1]') AS attempt,
           json_extract(value, '$[2]') AS error,
           json_extract(value, '$[3]') AS named_key
    FROM json_each(%(items)s)
) AS item
WHERE headcount_task.id = item.task_id
  AND headcount_task.state IN ('waiting', 'leased', 'received')
  AND (item.named_key IS NULL OR item.named_key = headcount_task.key)
  AND (item.error IS NULL OR item.attempt IS NULL OR item.attempt = headcount_task.attempts)
RETURNING headcount_task.id, headcount_task.ordinal, headcount_task.key, headcount_task.state = 'failed'
