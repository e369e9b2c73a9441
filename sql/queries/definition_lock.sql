-- None if a start that has found it is not committed yet. $1 def_id
SELECT true FROM wf_internal.definitions d WHERE d.def_id = $1 FOR UPDATE SKIP LOCKED
