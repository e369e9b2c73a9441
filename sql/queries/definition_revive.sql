-- $1 def_id
UPDATE wf_internal.definitions d SET retired_among = NULL WHERE d.def_id = $1 AND d.retired_among IS NOT NULL
