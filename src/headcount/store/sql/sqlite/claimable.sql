SELECT job.id, job.run, job.kind, job.name, job.project_id, pipeline.slug, job.dispatch_mode, job.status,
       job.task_total, job.published_at IS NOT NULL, job.failure_threshold, job.priority, job.config,
       job.created_at, job.finished_at, job.fail_fast, job.set_aside
FROM headcount_job AS job
JOIN headcount_pipeline AS pipeline ON pipeline.id = job.pipeline_id
WHERE job.project_id = %(project_id)s
  AND pipeline.slug IN (SELECT value FROM json_each(%(slugs)s))
  AND job.status IN ('PENDING', 'STARTED', 'RETRY')
  -- Said once more, as the index of running jobs has it: without it every job of the project is read.
  AND NOT (job.status IN ('FAILURE', 'REVOKED', 'SUCCESS'))
  AND job.dispatch_mode = 'async_api'
  AND job.task_total IS NOT NULL
ORDER BY job.priority DESC, job.id
LIMIT %(limit)s
