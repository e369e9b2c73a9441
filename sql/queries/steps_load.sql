-- The history of a run. $1 run_id
SELECT s.n, s.kind, s.status, s.name, s.occurrence, s.attempt, s.due_at, s.result, s.error, s.begun, s.request, s.started_at
FROM wf_internal.steps s
WHERE s.run_id = $1
ORDER BY s.n
