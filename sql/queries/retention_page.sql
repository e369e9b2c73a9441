-- Runs in the order in which they were made, from a place on, with what decides how long each is kept: for as long as the
-- first one of its id, which goes with the last; and one that has failed for as long as its parent, unless that has
-- completed, since wf_retry would have it go on. $1 run ids behind, $2 run ids before, $3 how many
SELECT r.run_id, r.finished_at, r.status IN ('failed', 'cancelled'), r.def_id, r.owner::oid,
       f.finished_at, f.status IN ('failed', 'cancelled'), f.def_id, f.owner::oid, p.run_id
FROM (SELECT o.run_id, o.finished_at, o.status, o.def_id, o.owner, o.id, o.seq, o.parent_run_id
      FROM wf_internal.runs o
      WHERE o.run_id > $1 AND o.run_id < $2
      ORDER BY o.run_id
      LIMIT $3) AS r
LEFT JOIN wf_internal.runs f ON r.seq > 1 AND f.id = r.id AND f.seq = 1
LEFT JOIN wf_internal.runs p ON r.status IN ('failed', 'cancelled') AND p.run_id = r.parent_run_id
                            AND p.status NOT IN ('completed', 'continued')
ORDER BY r.run_id
