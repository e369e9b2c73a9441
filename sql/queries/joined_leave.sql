-- Calls of a run, or one of them, that are not waited for any more. $1 run_id, $2 n or NULL
DELETE FROM wf_internal.joined j WHERE j.run_id = $1 AND j.n = coalesce($2, j.n)
