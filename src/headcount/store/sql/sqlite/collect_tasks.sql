INSERT INTO headcount_task (job_id, ordinal, key, payload, state, attempts, releases, worker)
SELECT json_extract(item.value, '$[0]'), json_extract(item.value, '$[1]'), json_extract(item.value, '$[2]'),
    json_extract(item.value, '$[3]'), json_extract(item.value, '$[4]'), json_extract(item.value, '$[5]'),
    json_extract(item.value, '$[6]'), json_extract(item.value, '$[7]')
FROM json_each(%(rows)s) AS item
