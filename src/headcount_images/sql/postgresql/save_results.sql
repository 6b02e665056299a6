WITH saved AS (
    INSERT INTO headcount_images_detection (task_id, job_id, image_id, position, x1, y1, x2, y2, algorithm, detected_at)
    SELECT (value ->> 0)::bigint, %(job_id)s, (value ->> 1)::bigint, (value ->> 2)::integer,
           (value ->> 3)::double precision, (value ->> 4)::double precision, (value ->> 5)::double precision,
           (value ->> 6)::double precision, value ->> 7, (value ->> 8)::timestamptz
    FROM jsonb_array_elements(%(detections)s::jsonb)
    RETURNING id, task_id, position
), counted AS (
    INSERT INTO headcount_images_savedbatch (job_id, detections)
    SELECT %(job_id)s, count(*) FROM saved HAVING count(*) > 0
)
INSERT INTO headcount_images_classification (detection_id, position, label, scores, algorithm, terminal, classified_at)
SELECT saved.id, (item.value ->> 2)::integer, item.value ->> 3, item.value -> 4, item.value ->> 5,
       (item.value ->> 6)::boolean, (item.value ->> 7)::timestamptz
FROM jsonb_array_elements(%(classifications)s::jsonb) AS item
JOIN saved ON saved.task_id = (item.value ->> 0)::bigint AND saved.position = (item.value ->> 1)::integer
