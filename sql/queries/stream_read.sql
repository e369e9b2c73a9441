-- What a run has emitted behind a position, in order. $1 run_id, $2 name, $3 position
SELECT s.n::bigint, s.result, s.started_at FROM wf_internal.steps s
WHERE s.run_id = $1 AND s.n > $3 AND s.kind = 'emit' AND s.name = $2
ORDER BY s.n
