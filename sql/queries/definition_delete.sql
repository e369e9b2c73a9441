-- Is the restored function of a version needed for another definition? $1 def_id
WITH gone AS (
    DELETE FROM wf_internal.definitions d WHERE d.def_id = $1 RETURNING d.source_md5
), remarks AS (
    DELETE FROM wf_internal.remarks m WHERE m.def_id = $1
)
SELECT EXISTS (SELECT FROM wf_internal.definitions o WHERE o.source_md5 = g.source_md5 AND o.def_id <> $1) FROM gone g
