-- Is anything ready beside one run? $1 owner, $2 run_id
SELECT true FROM wf_internal.ready q WHERE q.owner = $1::oid AND q.run_id <> $2 LIMIT 1
