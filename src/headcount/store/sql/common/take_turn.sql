INSERT INTO headcount_repairturn (job_id, run, held_until)
VALUES (%(job_id)s, %(run)s, %(held_until)s)
ON CONFLICT (job_id, run) DO UPDATE
SET held_until = excluded.held_until
WHERE headcount_repairturn.held_until < %(now)s
