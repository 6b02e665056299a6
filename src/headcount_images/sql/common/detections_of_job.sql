SELECT (SELECT count(*) FROM headcount_images_detection WHERE job_id = %(job_id)s),
       (SELECT coalesce(sum(detections), 0) FROM headcount_images_savedbatch WHERE job_id = %(job_id)s)
