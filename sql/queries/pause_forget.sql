-- A run that has ended needs no pause. One that is just being lifted is left to whoever does. $1 run_id
WITH gone AS (
    DELETE FROM wf_internal.pauses p
    WHERE p.ctid = (SELECT q.ctid FROM wf_internal.pauses q
                    WHERE q.run_id = $1
                      AND EXISTS (SELECT FROM wf_internal.runs r WHERE r.run_id = $1 AND r.finished_at IS NOT NULL)
                    FOR UPDATE SKIP LOCKED)
    RETURNING p.pause_id
)
DELETE FROM wf_internal.parked k WHERE k.pause_id = (SELECT g.pause_id FROM gone g)
