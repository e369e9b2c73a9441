-- Is a run to stop, or over, or the call of it that a branch belongs to? For who has claimed it before, and was not told because
-- nobody knew. $1 run_id, $2 n of that call or NULL
SELECT FROM wf_internal.controls c WHERE c.run_id = $1 AND c.action = 'cancel'
UNION ALL
SELECT FROM wf_internal.steps s WHERE s.run_id = $1 AND s.n = $2 AND s.finished_at IS NOT NULL
UNION ALL
SELECT FROM wf_internal.runs r WHERE r.run_id = $1 AND r.finished_at IS NOT NULL
LIMIT 1
