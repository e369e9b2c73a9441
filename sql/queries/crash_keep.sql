-- The pause of a run that would end by itself is somebody's from here on. $1 run_id
UPDATE wf_internal.crashes SET until = NULL, pause_id = NULL
WHERE run_id = $1 AND until IS NOT NULL AND pause_id IS NOT NULL
RETURNING true
