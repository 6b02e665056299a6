INSERT INTO headcount_images_detection (task_id, job_id, image_id, position, x1, y1, x2, y2, algorithm, detected_at)
SELECT json_extract(value, '$[0]'), %(job_id)s, json_extract(value, '$[1]'), json_extract(value, '$[2]'),
       json_extract(value, '$[3]'), json_extract(value, '$[4]'), json_extract(value, '$[5]'),
       json_extract(value, '$[6]'), json_extract(value, '$[7]'), json_extract(value, '$[8]')
FROM json_each(%(detections)s);
INSERT INTO headcount_images_savedbatch (job_id, detections)
SELECT %(job_id)s, json_array_length(%(detections)s) WHERE json_array_length(%(detections)s) > 0;
INSERT INTO headcount_images_classification (detection_id, position, label, scores, algorithm, terminal, classified_at)
SELECT (
           SELECT id FROM headcount_images_detection AS detection
           WHERE detection.task_id = json_extract(value, '$[0]') AND detection.position = json_extract(value, '$[1]')
       ),
       json_extract(value, '$[2]'), json_extract(value, '$[3]'), json_extract(value, '$[4]'),
       json_extract(value, '$[5]'), json_extract(value, '$[6]'), json_extract(value, '$[7]')
FROM json_each(%(classifications)s)
