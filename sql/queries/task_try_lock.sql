-- A task with what its call and queue say, unless another holds it. The last column: may the role speak for it? $1 run_id, $2 n, $3 role
SELECT t.run_id, t.n, t.queue_id, t.owner::oid, t.priority, t.seq, t.status, t.attempt, t.created_at, t.queued_at,
       t.started_at, t.finished_at, t.lease_until, t.lease_time, t.timer_at, t.lease, t.worker, t.worker_role::oid, t.details, t.error,
       coalesce(s.name, ''), s.request, coalesce(s.request->'retry', d.options->'retry'), s.n IS NOT NULL AND s.finished_at IS NULL AND r.finished_at IS NULL,
       r.id, d.workflow, q.name, q.max_running IS NOT NULL OR (q.max_running_per_key IS NOT NULL AND t.key <> ''),
       (q.max_running IS NOT NULL OR q.max_running_per_key IS NOT NULL)
           AND EXISTS (SELECT FROM wf_internal.task_queue i WHERE i.queue_id = t.queue_id AND NOT i.running AND i.inside),
       t.key, q.notifies,
       pg_catalog.pg_has_role($3, t.owner::oid, 'USAGE')
           OR EXISTS (SELECT FROM pg_catalog.unnest(q.workers) AS w(role) WHERE pg_catalog.pg_has_role($3, w.role::oid, 'USAGE')),
       r.trace
FROM wf_internal.tasks t
LEFT JOIN wf_internal.steps s ON s.run_id = t.run_id AND s.n = t.n
JOIN wf_internal.runs r ON r.run_id = t.run_id
JOIN wf_internal.definitions d ON d.def_id = r.def_id
JOIN wf_internal.queues q ON q.queue_id = t.queue_id
WHERE t.run_id = $1 AND t.n = $2
FOR NO KEY UPDATE OF t SKIP LOCKED
