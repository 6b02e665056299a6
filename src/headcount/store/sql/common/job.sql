SELECT job.id, job.run, job.kind, job.name, job.project_id, pipeline.slug, job.dispatch_mode, job.status,
       job.task_total, job.published_at IS NOT NULL, job.failure_threshold, job.priority, job.config,
       job.created_at, job.finished_at, job.fail_fast, job.set_aside
FROM headcount_job AS job
LEFT JOIN headcount_pipeline AS pipeline ON pipeline.id = job.pipeline_id
WHERE job.id = %(job_id)s
