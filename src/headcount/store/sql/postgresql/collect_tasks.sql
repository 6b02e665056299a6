COPY headcount_task (job_id, ordinal, key, payload, state, attempts, releases, worker) FROM STDIN
