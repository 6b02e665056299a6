UPDATE headcount_database_runstate
SET process_done = process_done + %(process_done)s,
    process_failed = process_failed + %(process_failed)s,
    results_done = results_done + %(results_done)s,
    results_failed = results_failed + %(results_failed)s
WHERE job_id = %(job_id)s AND run = %(run)s
RETURNING total, process_done, process_failed, results_done, results_failed
