-- Makes the runs and branches ready that a pause has held, the older first. $1 pause_id
WITH gone AS (
    DELETE FROM wf_internal.parked k WHERE k.pause_id = $1 RETURNING k.owner, k.priority, k.run_id, k.n, k.item
), moved AS (
    INSERT INTO wf_internal.ready (owner, priority, run_id, n, item)
    SELECT g.owner, g.priority, g.run_id, nullif(g.n, 0), nullif(g.item, 0) FROM gone g ORDER BY g.run_id, g.n, g.item
)
SELECT DISTINCT g.owner::oid FROM gone g
