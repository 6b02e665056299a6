SELECT worker.project_id, offered.slug, max(worker.last_seen_at),
       count(*) FILTER (WHERE worker.last_seen_at >= %(since)s)
FROM headcount_worker AS worker
CROSS JOIN LATERAL jsonb_array_elements_text(
    CASE jsonb_typeof(worker.pipelines) WHEN 'array' THEN worker.pipelines ELSE '[]'::jsonb END
) AS offered(slug)
WHERE worker.project_id = ANY (ARRAY(SELECT value::bigint FROM jsonb_array_elements_text(%(projects)s::jsonb)))
GROUP BY worker.project_id, offered.slug
