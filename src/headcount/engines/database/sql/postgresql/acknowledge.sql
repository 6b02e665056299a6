DELETE FROM headcount_database_queuemessage
WHERE id IN (
    SELECT id FROM headcount_database_queuemessage
    WHERE job_id = %(job_id)s AND run = %(run)s
      AND ordinal = ANY (ARRAY(SELECT value::integer FROM jsonb_array_elements_text(%(ordinals)s::jsonb)))
    ORDER BY id
    FOR UPDATE
)
