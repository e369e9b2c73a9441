-- Number of recorded calls: they are numbered from 1. $1 run_id
SELECT coalesce((SELECT s.n FROM wf_internal.steps s WHERE s.run_id = $1 ORDER BY s.n DESC LIMIT 1), 0)
