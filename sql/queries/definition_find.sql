-- Locked, so that a purge does not take it away under a start that has found it and is not committed.
-- $1 workflow, $2 source_md5, $3 search_path, $4 options
SELECT d.def_id, d.version, d.xmin FROM wf_internal.definitions d
WHERE d.workflow = $1 AND d.source_md5 = $2 AND d.search_path = $3 AND d.options = $4 AND d.retired_among IS NULL
ORDER BY d.def_id
LIMIT 1
FOR KEY SHARE
