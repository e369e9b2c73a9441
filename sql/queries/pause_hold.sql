-- Keeps a pause from being lifted until this transaction ends, unless somebody is about to. $1 pause_id
SELECT true FROM wf_internal.pauses p WHERE p.pause_id = $1 FOR KEY SHARE SKIP LOCKED
