-- Takes the runs of a batch: their row locks make this transaction their one writer. Runs that another executor holds
-- are left out. $1 run ids
SELECT r.run_id, r.def_id, r.owner::oid, r.priority, r.status, r.id, r.input, r.started_at, r.deadline, r.start_at,
       EXISTS (SELECT FROM wf_internal.controls c WHERE c.run_id = r.run_id), r.xmin, r.depth, r.seq,
       r.parent_run_id, r.parent_n, r.parent_item, r.start_by, r.queue, r.created_at, r.trace
FROM wf_internal.runs r
WHERE r.run_id = ANY ($1)
FOR NO KEY UPDATE OF r SKIP LOCKED
