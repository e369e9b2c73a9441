-- All of them; those that are just being written have their process.
SELECT c.run_id, c.n, c.item, c.owner::oid, c.priority FROM wf_internal.commands c
ORDER BY c.run_id, c.n, c.item
FOR UPDATE SKIP LOCKED
