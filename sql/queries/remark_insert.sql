-- Nobody waits here for another transaction: while one records something of a version, others leave it to that one, and
-- look again the next time. $1 def_id, $2 relation, $3 run_id, $4 owner, $5 now
INSERT INTO wf_internal.remarks (first_seen, run_id, def_id, owner, relation)
SELECT $5, $3, d.def_id, $4, $2
FROM wf_internal.definitions d
WHERE d.def_id = $1
  AND pg_catalog.pg_try_advisory_xact_lock(pg_catalog.hashtextextended('pg_workflow remarks on ' || d.workflow, 0))
ON CONFLICT DO NOTHING
RETURNING (SELECT d.workflow FROM wf_internal.definitions d WHERE d.def_id = $1),
          (SELECT d.version FROM wf_internal.definitions d WHERE d.def_id = $1),
          -- Known of the same code with other options or another search_path.
          EXISTS (SELECT FROM wf_internal.definitions d
                  JOIN wf_internal.definitions o ON o.workflow = d.workflow AND o.version = d.version AND o.def_id <> d.def_id
                  JOIN wf_internal.remarks r ON r.def_id = o.def_id
                  WHERE d.def_id = $1 AND r.relation = $2)
