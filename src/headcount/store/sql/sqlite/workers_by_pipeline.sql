SELECT worker.project_id, offered.value, max(worker.last_seen_at),
       count(*) FILTER (WHERE worker.last_seen_at >= %(since)s)
FROM headcount_worker AS worker
CROSS JOIN json_each(CASE json_type(worker.pipelines) WHEN 'array' THEN worker.pipelines ELSE '[]' END) AS offered
WHERE worker.project_id IN (SELECT value FROM json_each(%(projects)s))
GROUP BY worker.project_id, offered.value
