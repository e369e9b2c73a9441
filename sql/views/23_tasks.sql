SET LOCAL search_path = pg_catalog, pg_temp;
-- Tasks and queues: each user sees those of the roles whose privileges it has, and those that it may work on.

CREATE VIEW wf.tasks WITH (security_barrier) AS
    SELECT r.id, t.n, s.name, q.name AS queue,
           CASE WHEN t.finished_at IS NULL AND (s.finished_at IS NOT NULL OR r.finished_at IS NOT NULL) THEN 'cancelled'
                WHEN t.status = 'retrying' AND t.queued_at = 'infinity' THEN 'paused'
                ELSE t.status END AS status,
           t.attempt, t.priority, nullif(t.key, '') AS key, t.worker, t.worker_role, s.request->'input' AS input, t.details AS heartbeat,
           t.error->>'message' AS error, t.error->>'sqlstate' AS sqlstate,
           t.created_at, t.queued_at, t.started_at, t.lease_until, t.finished_at, t.owner, d.workflow, r.seq AS run, t.run_id
    FROM wf_internal.tasks t
    JOIN wf_internal.queues q USING (queue_id)
    JOIN wf_internal.steps s ON s.run_id = t.run_id AND s.n = t.n
    JOIN wf_internal.runs r ON r.run_id = t.run_id
    JOIN wf_internal.definitions d USING (def_id)
    WHERE (SELECT wf_internal.sees_all()) OR pg_catalog.pg_has_role(t.owner::oid, 'USAGE')
       OR EXISTS (SELECT FROM pg_catalog.unnest(q.workers) AS w(role) WHERE pg_catalog.pg_has_role(w.role::oid, 'USAGE'));
COMMENT ON VIEW wf.tasks IS 'tasks for workers outside of the server, open and done';

CREATE VIEW wf.queues WITH (security_barrier) AS
    SELECT q.name, q.owner, q.paused, p.waiting, p.running,
           q.max_running, q.max_running_per_key, q.rate, q.per * interval '1 microsecond' AS per,
           least(q.rate, q.tokens + q.rate * greatest(0, 1e6 * extract(epoch FROM pg_catalog.clock_timestamp() - q.filled_at))::double precision / q.per) AS tokens,
           q.max_backlog, CASE WHEN q.max_backlog IS NOT NULL THEN CASE WHEN q.drops_oldest THEN 'drop_oldest' ELSE 'reject' END END AS overflow,
           greatest(pg_catalog.clock_timestamp(), p.oldest) - p.oldest AS oldest,
           pg_catalog.jsonb_build_object(
               'task', pg_catalog.jsonb_build_object('waiting', p.waiting - p.waiting_runs - p.waiting_steps,
                                                     'running', p.running - p.running_runs - p.running_steps),
               'step', pg_catalog.jsonb_build_object('waiting', p.waiting_steps, 'running', p.running_steps),
               'run', pg_catalog.jsonb_build_object('waiting', p.waiting_runs, 'running', p.running_runs)) AS kinds,
           q.workers, q.notifies AS notify
    FROM wf_internal.queues q
    CROSS JOIN LATERAL (
        SELECT count(*) FILTER (WHERE NOT w.running) AS waiting,
               count(*) FILTER (WHERE w.running) AS running,
               count(*) FILTER (WHERE NOT w.running AND w.inside AND w.n = 0) AS waiting_runs,
               count(*) FILTER (WHERE w.running AND w.inside AND w.n = 0) AS running_runs,
               count(*) FILTER (WHERE NOT w.running AND w.inside AND w.n > 0) AS waiting_steps,
               count(*) FILTER (WHERE w.running AND w.inside AND w.n > 0) AS running_steps,
               min(w.queued_at) FILTER (WHERE NOT w.running) AS oldest
        FROM wf_internal.task_queue w WHERE w.queue_id = q.queue_id) AS p
    WHERE (SELECT wf_internal.sees_all()) OR pg_catalog.pg_has_role(q.owner::oid, 'USAGE')
       OR EXISTS (SELECT FROM pg_catalog.unnest(q.workers) AS w(role) WHERE pg_catalog.pg_has_role(w.role::oid, 'USAGE'));
COMMENT ON VIEW wf.queues IS 'queues of tasks, steps and instances, with their limits and what is in them';

GRANT SELECT ON wf.tasks, wf.queues TO PUBLIC;
