-- The ids are looked up one by one: given a join, the planner reads every task of the job for every lease.
UPDATE headcount_task
SET leased_until = %(leased_until)s
FROM (
    SELECT (
               SELECT id FROM headcount_task AS task
               WHERE task.job_id = %(job_id)s AND task.ordinal = json_extract(value, '$[0]')
           ) AS task_id,
           json_extract(value, '$[1]') AS attempt
    FROM json_each(%(leases)s)
) AS lease
WHERE headcount_task.id = lease.task_id
  AND headcount_task.attempts = lease.attempt
  AND headcount_task.state = 'leased'
RETURNING headcount_task.ordinal, headcount_task.attempts
