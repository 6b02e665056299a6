SELECT job_id,
       count(*) FILTER (WHERE state = 'waiting'),
       count(*) FILTER (WHERE state = 'leased'),
       count(*) FILTER (WHERE state = 'received'),
       count(*) FILTER (WHERE state = 'saved'),
       count(*) FILTER (WHERE state = 'failed'),
       count(*) FILTER (WHERE state = 'cancelled'),
       count(*) FILTER (WHERE is_open AND NOT is_held),
       count(*) FILTER (WHERE is_open AND NOT is_held AND attempts - releases >= %(max_attempts)s),
       coalesce(max(attempts - releases) FILTER (WHERE is_open), 0),
       sum(attempts),
       max(leased_until),
       max(accounted_at) FILTER (WHERE state = 'saved'),
       max(accounted_at)
FROM (
    SELECT job_id, state, attempts, releases, leased_until, accounted_at,
           state IN ('waiting', 'leased', 'received') AS is_open,
           state = 'leased' AND leased_until > %(now)s AND leased_until <= %(latest)s AS is_held
    FROM headcount_task
    WHERE job_id = ANY (ARRAY(SELECT value::bigint FROM jsonb_array_elements_text(%(jobs)s::jsonb)))
) AS task
GROUP BY job_id
