-- Of a task that others hold. $1 run_id, $2 n
SELECT t.owner::oid, t.priority FROM wf_internal.tasks t WHERE t.run_id = $1 AND t.n = $2 AND t.finished_at IS NULL
