-- A row known by its place; another hint of the same run that has come to lie there is as good. $1 place, $2 run_id
SELECT q.ctid FROM wf_internal.ready q WHERE q.ctid = $1 AND q.run_id = $2 AND q.n IS NULL FOR UPDATE SKIP LOCKED
