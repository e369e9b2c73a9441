-- What a replay of an open run needs. $1 run_id
SELECT r.id, d.version, r.input, d.search_path
FROM wf_internal.runs r
JOIN wf_internal.definitions d USING (def_id)
WHERE r.run_id = $1 AND r.finished_at IS NULL
