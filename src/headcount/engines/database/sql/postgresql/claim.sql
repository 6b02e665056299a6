-- An array is gathered once; a plain IN (SELECT ... LIMIT) may be run again for every row that is joined to it, and then
-- hands out more than the limit.
UPDATE headcount_database_queuemessage
SET ready = false, deliveries = deliveries + 1, leased_until = %(leased_until)s
WHERE id = ANY (ARRAY(
    SELECT id FROM headcount_database_queuemessage
    WHERE job_id = %(job_id)s AND run = %(run)s AND ready
    ORDER BY ordinal
    LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED
))
RETURNING ordinal, deliveries
