-- Queues of these names that a role may claim from. $1 names, $2 role
SELECT q.queue_id, q.max_running IS NOT NULL OR q.rate IS NOT NULL, q.name
FROM wf_internal.queues q
WHERE q.name = ANY ($1) AND NOT q.paused
  AND (pg_catalog.pg_has_role($2, q.owner::oid, 'USAGE')
       OR EXISTS (SELECT FROM pg_catalog.unnest(q.workers) AS w(role) WHERE pg_catalog.pg_has_role($2, w.role::oid, 'USAGE')))
