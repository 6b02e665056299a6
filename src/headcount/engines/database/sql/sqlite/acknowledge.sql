DELETE FROM headcount_database_queuemessage
WHERE job_id = %(job_id)s AND run = %(run)s AND ordinal IN (SELECT value FROM json_each(%(ordinals)s))
