-- $1 pause_id
SELECT true FROM wf_internal.pauses p WHERE p.pause_id = $1
