-- Makes the runs ready that a pause has held, the older first. $1 pause_id
WITH gone AS (
    DELETE FROM wf_internal.parked k WHERE k.pause_id = $1 RETURNING k.owner, k.priority, k.run_id
), moved AS (
    INSERT INTO wf_internal.ready (owner, priority, run_id)
    SELECT g.owner, g.priority, g.run_id FROM gone g ORDER BY g.run_id
)
SELECT DISTINCT g.owner::oid FROM gone g
