WITH task AS (
    SELECT (value ->> 0)::bigint AS id, (value ->> 1)::bigint AS image_id, value -> 2 AS rows
    FROM jsonb_array_elements(%(tasks)s::jsonb)
), saved AS (
    INSERT INTO headcount_images_detection (task_id, job_id, image_id, position, x1, y1, x2, y2, algorithm, detected_at)
    SELECT task.id, %(job_id)s, task.image_id, (value ->> 0)::integer,
           (value ->> 1)::double precision, (value ->> 2)::double precision, (value ->> 3)::double precision,
           (value ->> 4)::double precision, value ->> 5, (value ->> 6)::timestamptz
    FROM task CROSS JOIN jsonb_array_elements(task.rows -> 0)
    RETURNING id, task_id, position
)
INSERT INTO headcount_images_classification (detection_id, position, label, scores, algorithm, terminal, classified_at)
SELECT saved.id, (item.value ->> 1)::integer, item.value ->> 2, item.value -> 3, item.value ->> 4,
       (item.value ->> 5)::boolean, (item.value ->> 6)::timestamptz
FROM task
CROSS JOIN jsonb_array_elements(task.rows -> 1) AS item
JOIN saved ON saved.task_id = task.id AND saved.position = (item.value ->> 0)::integer
