SELECT count(*) FILTER (WHERE state = 'waiting'), count(*) FILTER (WHERE state = 'leased'),
       count(*) FILTER (WHERE state = 'received'), count(*) FILTER (WHERE state = 'saved'),
       count(*) FILTER (WHERE state = 'failed'), count(*) FILTER (WHERE state = 'cancelled')
FROM headcount_task WHERE job_id = %(job_id)s
