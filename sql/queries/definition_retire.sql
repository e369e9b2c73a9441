-- Other transactions that are running now: is there one? $1 def_id
UPDATE wf_internal.definitions d
SET retired_among = ARRAY(SELECT l.virtualxid FROM pg_catalog.pg_locks l
                          WHERE l.locktype = 'virtualxid' AND l.granted AND l.pid <> pg_catalog.pg_backend_pid())
WHERE d.def_id = $1
RETURNING d.retired_among <> '{}'
