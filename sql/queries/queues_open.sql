-- Queues of these names that a role may claim from, whether what is to be claimed next has keys, and whether anything is
-- paused. $1 names, $2 role
SELECT q.queue_id, q.max_running IS NOT NULL OR q.max_running_per_key IS NOT NULL OR q.rate IS NOT NULL, q.name,
       EXISTS (SELECT
               FROM (SELECT w.priority FROM wf_internal.task_queue w
                     WHERE w.queue_id = q.queue_id AND NOT w.running AND NOT w.inside
                     ORDER BY w.queue_id, w.running, w.inside, w.priority LIMIT 1) AS f,
                    LATERAL (SELECT FROM wf_internal.task_queue k
                             WHERE k.queue_id = q.queue_id AND NOT k.running AND NOT k.inside AND k.priority = f.priority
                               AND k.key > '' LIMIT 1) AS keyed),
       EXISTS (SELECT FROM wf_internal.pauses p ORDER BY p.pause_id LIMIT 1)
FROM wf_internal.queues q
WHERE q.name = ANY ($1) AND NOT q.paused
  AND (pg_catalog.pg_has_role($2, q.owner::oid, 'USAGE')
       OR EXISTS (SELECT FROM pg_catalog.unnest(q.workers) AS w(role) WHERE pg_catalog.pg_has_role($2, w.role::oid, 'USAGE')))
