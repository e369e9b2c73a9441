-- What the error of a run says whose time is over. $1 run_id
SELECT d.workflow, coalesce(r.start_at, r.created_at), r.start_by
FROM wf_internal.runs r
JOIN wf_internal.definitions d USING (def_id)
WHERE r.run_id = $1
