UPDATE headcount_database_queuemessage
SET ready = false, deliveries = deliveries + 1, leased_until = %(leased_until)s
WHERE id IN (
    SELECT id FROM headcount_database_queuemessage
    WHERE job_id = %(job_id)s AND run = %(run)s AND ready
    ORDER BY ordinal
    LIMIT %(limit)s
)
RETURNING ordinal, deliveries
