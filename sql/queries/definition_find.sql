-- Locked, so that a purge does not take it away under a start that has found it and is not committed.
-- Of the function's owner, whose privileges the code may run with: equal code of another's is another version.
-- $1 workflow, $2 source_md5, $3 search_path, $4 options, $5 the function's owner
SELECT d.def_id, d.version, d.xmin FROM wf_internal.definitions d
WHERE d.workflow = $1 AND d.source_md5 = $2 AND d.search_path = $3 AND d.options = $4 AND d.proc_owner = $5 AND d.retired_among IS NULL
ORDER BY d.def_id
LIMIT 1
FOR KEY SHARE
