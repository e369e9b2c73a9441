-- The run has failed and now undoes what it has done. $1 run_id, $2 error, $3 started_at
UPDATE wf_internal.runs SET status = 'compensating', error = $2, waiting_for = NULL, started_at = coalesce(started_at, $3)
WHERE run_id = $1
