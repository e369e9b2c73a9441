-- Takes the branches of a batch, with what their run and its call say. Those that another executor holds are left out. The
-- run itself is not locked: its turn may go on meanwhile. One whose run has a cancel to come counts as ended. OFFSET 0 keeps
-- the lookups apart: the planner would find branches by the key of their call, all of a map's for each. $1 run ids, $2 ns,
-- $3 items
SELECT b.run_id, b.n, b.item, b.attempt, b.status, b.due_at, b.started_at, coalesce(b.input, s.request->'input'), s.name, s.request,
       r.def_id, r.owner::oid, r.priority, r.id, r.deadline, r.seq, r.depth,
       r.finished_at IS NULL AND s.finished_at IS NULL AND r.status <> 'compensating'
           AND NOT EXISTS (SELECT FROM wf_internal.controls c WHERE c.run_id = b.run_id AND c.action = 'cancel'),
       r.created_at, r.trace
FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3)) AS k(run_id, n, item)
JOIN wf_internal.branches b ON b.run_id = k.run_id AND b.n = k.n AND b.item = k.item
CROSS JOIN LATERAL (SELECT * FROM wf_internal.runs x WHERE x.run_id = b.run_id OFFSET 0) AS r
CROSS JOIN LATERAL (SELECT * FROM wf_internal.steps x WHERE x.run_id = b.run_id AND x.n = b.n OFFSET 0) AS s
FOR NO KEY UPDATE OF b SKIP LOCKED
