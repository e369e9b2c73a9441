-- Waits for a turn that parks a run under the pause. $1 run_id
DELETE FROM wf_internal.pauses p WHERE p.run_id = $1 RETURNING p.pause_id
