WITH saved AS (
    INSERT INTO headcount_images_detection (task_id, job_id, image_id, position, x1, y1, x2, y2, algorithm, detected_at)
    SELECT (found.value ->> 0)::bigint, %(job_id)s, (found.value ->> 1)::bigint, item.number - 1,
           (item.value ->> 0)::double precision, (item.value ->> 1)::double precision,
           (item.value ->> 2)::double precision, (item.value ->> 3)::double precision,
           item.value ->> 4, (item.value ->> 5)::timestamptz
    FROM jsonb_array_elements(%(detections)s::jsonb) AS found
    CROSS JOIN jsonb_array_elements(found.value -> 2) WITH ORDINALITY AS item(value, number)
    RETURNING id, task_id, position
), counted AS (
    INSERT INTO headcount_images_savedbatch (job_id, detections)
    SELECT %(job_id)s, count(*) FROM saved HAVING count(*) > 0
)
INSERT INTO headcount_images_classification (detection_id, position, label, scores, algorithm, terminal, classified_at)
SELECT saved.id, (item.value ->> 1)::integer, item.value ->> 2, item.value -> 3, item.value ->> 4,
       (item.value ->> 5)::boolean, (item.value ->> 6)::timestamptz
FROM jsonb_array_elements(%(classifications)s::jsonb) AS found
CROSS JOIN jsonb_array_elements(found.value -> 1) AS item
JOIN saved ON saved.task_id = (found.value ->> 0)::bigint AND saved.position = (item.value ->> 0)::integer
