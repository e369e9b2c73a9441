-- $1 def_id
SELECT d.workflow, d.version, d.schema_name, d.proc_name, d.proc_args, d.proc_owner::oid, d.source_md5, d.source,
       d.search_path, d.options
FROM wf_internal.definitions d
WHERE d.def_id = $1
