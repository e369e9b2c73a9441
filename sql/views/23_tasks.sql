-- Tasks and queues: each user sees those of the roles whose privileges it has, and those that it may work on.

CREATE VIEW wf.tasks WITH (security_barrier) AS
    SELECT r.id, t.n, s.name, q.name AS queue,
           CASE WHEN t.finished_at IS NULL AND (s.finished_at IS NOT NULL OR r.finished_at IS NOT NULL) THEN 'cancelled'
                ELSE t.status END AS status,
           t.attempt, t.priority, t.worker, t.worker_role, s.request->'input' AS input, t.details AS heartbeat,
           t.error->>'message' AS error, t.error->>'sqlstate' AS sqlstate,
           t.created_at, t.queued_at, t.started_at, t.lease_until, t.finished_at, t.owner, d.workflow, r.seq AS run, t.run_id
    FROM wf_internal.tasks t
    JOIN wf_internal.queues q USING (queue_id)
    JOIN wf_internal.steps s ON s.run_id = t.run_id AND s.n = t.n
    JOIN wf_internal.runs r ON r.run_id = t.run_id
    JOIN wf_internal.definitions d USING (def_id)
    WHERE pg_catalog.pg_has_role(t.owner::oid, 'USAGE')
       OR EXISTS (SELECT FROM pg_catalog.unnest(q.workers) AS w(role) WHERE pg_catalog.pg_has_role(w.role::oid, 'USAGE'));
COMMENT ON VIEW wf.tasks IS 'tasks for workers outside of the server, open and done';

CREATE VIEW wf.queues WITH (security_barrier) AS
    SELECT q.name, q.owner, q.paused,
           (SELECT pg_catalog.count(*) FROM wf_internal.task_queue w WHERE w.queue_id = q.queue_id AND NOT w.running) AS waiting,
           (SELECT pg_catalog.count(*) FROM wf_internal.task_queue w WHERE w.queue_id = q.queue_id AND w.running) AS running,
           q.max_running, q.rate, q.per * interval '1 microsecond' AS per, q.workers
    FROM wf_internal.queues q
    WHERE pg_catalog.pg_has_role(q.owner::oid, 'USAGE')
       OR EXISTS (SELECT FROM pg_catalog.unnest(q.workers) AS w(role) WHERE pg_catalog.pg_has_role(w.role::oid, 'USAGE'));
COMMENT ON VIEW wf.queues IS 'queues of tasks, with their limits and what is in them';

GRANT SELECT ON wf.tasks, wf.queues TO PUBLIC;
