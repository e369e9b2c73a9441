-- Was a cancel delivered to the run? $1 run_id
SELECT true FROM wf_internal.steps s
WHERE s.run_id = $1 AND s.status = 'cancelled' AND s.error->>'sqlstate' = 'WF002'
LIMIT 1
