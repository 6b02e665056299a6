UPDATE headcount_database_dispatch
SET state = 'STARTED', attempts = attempts + 1, leased_until = %(leased_until)s
WHERE id = (
    SELECT id FROM headcount_database_dispatch
    WHERE (state = 'PENDING' AND (available_at <= %(now)s OR available_at > %(latest)s))
       OR (state = 'STARTED' AND leased_until < %(now)s)
    ORDER BY available_at
    LIMIT 1
)
RETURNING id, job_id, run, attempts
