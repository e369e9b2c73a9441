-- The first run that was made at a time or behind it. $1 the least run id of that time
SELECT r.run_id FROM wf_internal.runs r WHERE r.run_id >= $1 ORDER BY r.run_id LIMIT 1
