-- Gives a run the history of another up to a call, or to the first one that has no answer. $1 run_id, $2 the other's,
-- $3 n of the call
INSERT INTO wf_internal.steps
    (started_at, finished_at, due_at, run_id, n, occurrence, attempt, begun, kind, status, name, request, result, error)
SELECT s.started_at, s.finished_at, s.due_at, $1, s.n, s.occurrence, s.attempt, s.begun, s.kind, s.status, s.name, s.request,
       s.result, s.error
FROM wf_internal.steps s
WHERE s.run_id = $2 AND s.n < $3
  AND s.n < coalesce((SELECT o.n FROM wf_internal.steps o
                      WHERE o.run_id = $2
                        AND (o.status IN ('waiting', 'retrying')
                             OR o.status = 'cancelled' AND o.error->>'sqlstate' IS DISTINCT FROM 'WF002')
                      ORDER BY o.n
                      LIMIT 1), $3)
