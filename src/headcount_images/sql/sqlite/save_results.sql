INSERT INTO headcount_images_detection (task_id, job_id, image_id, position, x1, y1, x2, y2, algorithm, detected_at)
SELECT json_extract(found.value, '$[0]'), %(job_id)s, json_extract(found.value, '$[1]'), item.key,
       json_extract(item.value, '$[0]'), json_extract(item.value, '$[1]'), json_extract(item.value, '$[2]'),
       json_extract(item.value, '$[3]'), json_extract(item.value, '$[4]'), json_extract(item.value, '$[5]')
FROM json_each(%(detections)s) AS found, json_each(found.value, '$[2]') AS item;
INSERT INTO headcount_images_savedbatch (job_id, detections)
SELECT %(job_id)s, number
FROM (SELECT sum(json_array_length(value, '$[2]')) AS number FROM json_each(%(detections)s))
WHERE number > 0;
INSERT INTO headcount_images_classification (detection_id, position, label, scores, algorithm, terminal, classified_at)
SELECT (
           SELECT id FROM headcount_images_detection AS detection
           WHERE detection.task_id = json_extract(found.value, '$[0]')
             AND detection.position = json_extract(item.value, '$[0]')
       ),
       json_extract(item.value, '$[1]'), json_extract(item.value, '$[2]'), json_extract(item.value, '$[3]'),
       json_extract(item.value, '$[4]'), json_extract(item.value, '$[5]'), json_extract(item.value, '$[6]')
FROM json_each(%(classifications)s) AS found, json_each(found.value, '$[1]') AS item
