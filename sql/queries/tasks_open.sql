-- Open tasks of a run, or of one call of it. $1 run_id, $2 n or NULL
SELECT t.n FROM wf_internal.tasks t
WHERE t.run_id = $1 AND t.n = coalesce($2, t.n) AND t.finished_at IS NULL
