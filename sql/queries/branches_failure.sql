-- The first failure of a map, by item. $1 run_id, $2 n
SELECT b.item, b.error FROM wf_internal.branches b
WHERE b.run_id = $1 AND b.n = $2 AND b.status = 'failed'
ORDER BY b.run_id, b.n, b.item
LIMIT 1
