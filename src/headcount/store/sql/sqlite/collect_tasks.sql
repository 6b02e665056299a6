INSERT INTO headcount_task (job_id, ordinal, key, payload, state, attempts, releases, worker)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
