INSERT INTO headcount_images_detection (task_id, job_id, image_id, position, x1, y1, x2, y2, algorithm, detected_at)
SELECT json_extract(task.value, '$[0]'), %(job_id)s, json_extract(task.value, '$[1]'),
       json_extract(box.value, '$[0]'), json_extract(box.value, '$[1]'), json_extract(box.value, '$[2]'),
       json_extract(box.value, '$[3]'), json_extract(box.value, '$[4]'), json_extract(box.value, '$[5]'),
       json_extract(box.value, '$[6]')
FROM json_each(%(tasks)s) AS task, json_each(task.value, '$[2][0]') AS box;
INSERT INTO headcount_images_classification (detection_id, position, label, scores, algorithm, terminal, classified_at)
SELECT detection.id, json_extract(item.value, '$[1]'), json_extract(item.value, '$[2]'),
       json_extract(item.value, '$[3]'), json_extract(item.value, '$[4]'), json_extract(item.value, '$[5]'),
       json_extract(item.value, '$[6]')
FROM json_each(%(tasks)s) AS task, json_each(task.value, '$[2][1]') AS item
JOIN headcount_images_detection AS detection
  ON detection.task_id = json_extract(task.value, '$[0]') AND detection.position = json_extract(item.value, '$[0]')
