-- $1 def_id, $2 relation
SELECT r.xmin FROM wf_internal.remarks r WHERE r.def_id = $1 AND r.relation = $2
