-- Waits for a turn that parks a run under the pause. $1 pause_id
DELETE FROM wf_internal.pauses p WHERE p.pause_id = $1 RETURNING true
