-- $1 run_id, $2 status (running or waiting), $3 waiting_for, $4 started_at
UPDATE wf_internal.runs SET status = $2, waiting_for = $3, started_at = coalesce(started_at, $4)
WHERE run_id = $1
