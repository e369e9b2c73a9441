-- $1 workflow, $2 source_md5, $3 search_path, $4 options
SELECT d.def_id, d.version, d.xmin FROM wf_internal.definitions d
WHERE d.workflow = $1 AND d.source_md5 = $2 AND d.search_path = $3 AND d.options = $4
ORDER BY d.def_id
LIMIT 1
