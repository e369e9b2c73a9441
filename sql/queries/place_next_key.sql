-- The first key from a place in their order on that has something waiting, and of which fewer run than its limit: from key to
-- key through the index, however much waits of each. $1 queue_id, $2 inside, $3 priority, $4 the first that counts, $5 limit
-- or NULL
WITH RECURSIVE walk(key) AS (
    (SELECT q.key FROM wf_internal.task_queue q
     WHERE q.queue_id = $1 AND NOT q.running AND q.inside = $2 AND q.priority = $3 AND q.key >= $4
     ORDER BY q.queue_id, q.running, q.inside, q.priority, q.key LIMIT 1)
    UNION ALL
    SELECT n.key FROM walk k CROSS JOIN LATERAL
        (SELECT q.key FROM wf_internal.task_queue q
         WHERE q.queue_id = $1 AND NOT q.running AND q.inside = $2 AND q.priority = $3 AND q.key > k.key
         ORDER BY q.queue_id, q.running, q.inside, q.priority, q.key LIMIT 1) AS n
)
SELECT k.key FROM walk k
WHERE $5 IS NULL OR k.key = ''
   OR (SELECT pg_catalog.count(*)
       FROM (SELECT FROM wf_internal.task_queue r
             WHERE r.queue_id = $1 AND r.key = k.key AND r.running AND r.key <> '' LIMIT $5) AS r) < $5
LIMIT 1
