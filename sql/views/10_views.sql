SET LOCAL search_path = pg_catalog, pg_temp;
-- For the person who types SELECT * FROM wf.<tab>. Each user sees the instances of the roles whose privileges it has; who has been
-- granted "view" or "operate" sees all, which is asked once a query.
-- security_barrier: a function in a user's WHERE must not get to see other people's rows before this one is applied.

CREATE VIEW wf.workers WITH (security_barrier) AS
    SELECT w.kind, w.pid, pg_catalog.pg_get_userbyid(w.role) AS role,
           CASE WHEN w.busy THEN 'busy' ELSE 'idle' END AS state,
           d.workflow, r.id, CASE WHEN r.id IS NOT NULL THEN w.step END AS step, pg_catalog.to_timestamp(w.since) AS since
    FROM pg_catalog.jsonb_to_recordset(wf_internal.facts()->'workers')
         AS w(kind text, pid integer, role oid, busy boolean, run_id uuid, step text, since double precision)
    LEFT JOIN wf_internal.runs r ON r.run_id = w.run_id AND ((SELECT wf_internal.sees_all()) OR pg_catalog.pg_has_role(r.owner::oid, 'USAGE'))
    LEFT JOIN wf_internal.definitions d USING (def_id);
COMMENT ON VIEW wf.workers IS 'background workers of this database and what they are at';

CREATE VIEW wf.workflows WITH (security_barrier) AS
    SELECT r.id, d.workflow,
           CASE WHEN w.run_id IS NOT NULL AND r.finished_at IS NULL THEN 'running'
                WHEN coalesce(p.waiting_for, q.waiting_for) IS NOT NULL THEN 'paused'
                ELSE r.status END AS status,
           CASE WHEN w.run_id IS NOT NULL THEN NULL
                WHEN coalesce(p.waiting_for, q.waiting_for) IS NOT NULL THEN coalesce(p.waiting_for, q.waiting_for)
                WHEN r.status = 'pending' AND r.queue IS NOT NULL AND coalesce(r.start_at <= pg_catalog.now(), true) THEN
                    (SELECT 'queue "' || u.name || '"' FROM wf_internal.queues u WHERE u.queue_id = (r.queue->>'id')::integer)
                WHEN r.status = 'pending' AND r.start_at IS NOT NULL THEN 'start at ' || r.start_at::text
                ELSE r.waiting_for END AS waiting_for,
           r.input, r.result,
           r.error->>'message' AS error, r.error->>'sqlstate' AS sqlstate,
           (SELECT pg_catalog.jsonb_object_agg(s.name, s.result ORDER BY s.n)
            FROM wf_internal.steps s WHERE s.run_id = r.run_id AND s.kind = 'set') AS "values",
           r.created_at, r.started_at, r.finished_at, r.deadline, r.start_by,
           r.owner, r.priority, d.version, r.seq AS run, r.run_id,
           (SELECT p.id FROM wf_internal.runs p WHERE p.run_id = r.parent_run_id) AS parent,
           (SELECT s.name FROM wf_internal.schedules s WHERE s.schedule_id = r.parent_run_id) AS schedule,
           -- From when it could have begun; start_at is set anew by a retry.
           greatest(coalesce(r.started_at, r.finished_at, pg_catalog.statement_timestamp())
                    - CASE WHEN r.start_at > r.started_at THEN r.created_at ELSE coalesce(r.start_at, r.created_at) END, '0') AS queue_delay,
           coalesce(r.finished_at, pg_catalog.statement_timestamp()) - r.started_at AS run_time,
           -- What it says itself, else the last call in its history.
           coalesce((SELECT s.result #>> '{}' FROM wf_internal.steps s
                     WHERE s.run_id = r.run_id AND s.kind = 'set' AND s.name = 'progress' ORDER BY s.n DESC LIMIT 1),
                    (SELECT pg_catalog.format('%s %s: %s%s', s.kind, s.n, s.name,
                                CASE WHEN s.kind = 'map' THEN pg_catalog.format(', %s of %s done', CASE WHEN s.finished_at IS NULL THEN coalesce(s.result->>'done', '0')
                                                                                       ELSE s.request->>'items' END, s.request->>'items') END)
                     FROM wf_internal.steps s
                     WHERE s.run_id = r.run_id AND s.kind NOT IN ('value', 'set', 'emit', 'await') ORDER BY s.n DESC LIMIT 1)) AS progress
    FROM wf_internal.runs r
    JOIN wf_internal.definitions d USING (def_id)
    -- Once, also at the moment in which a run goes from one process to another.
    LEFT JOIN (SELECT DISTINCT f.run_id FROM pg_catalog.jsonb_to_recordset(wf_internal.facts()->'workers') AS f(run_id uuid)) AS w
           ON w.run_id = r.run_id
    -- Of the run itself, of which there may be many, and of more than one, of which there are few.
    LEFT JOIN wf_internal.pauses p ON p.run_id = r.run_id AND r.finished_at IS NULL
    LEFT JOIN LATERAL (
        SELECT o.waiting_for FROM wf_internal.pauses o
        WHERE o.run_id IS NULL AND r.finished_at IS NULL
          AND (o.owner IS NULL OR o.owner = r.owner) AND (o.workflow IS NULL OR o.workflow = d.workflow)
        ORDER BY o.pause_id LIMIT 1) AS q ON true
    WHERE (SELECT wf_internal.sees_all()) OR pg_catalog.pg_has_role(r.owner::oid, 'USAGE');
COMMENT ON VIEW wf.workflows IS 'workflow instances, one row a run';

CREATE VIEW wf.steps WITH (security_barrier) AS
    SELECT r.id, s.n, s.name, s.occurrence, s.kind, s.status, s.attempt, s.result,
           s.error->>'message' AS error, s.error->>'sqlstate' AS sqlstate,
           s.started_at, s.finished_at, s.finished_at - s.started_at AS duration, s.due_at, s.request,
           d.workflow, r.seq AS run, s.run_id
    FROM wf_internal.steps s
    JOIN wf_internal.runs r USING (run_id)
    JOIN wf_internal.definitions d USING (def_id)
    WHERE (SELECT wf_internal.sees_all()) OR pg_catalog.pg_has_role(r.owner::oid, 'USAGE');
COMMENT ON VIEW wf.steps IS 'recorded steps, waits and values, in the order in which they were begun (n)';

CREATE VIEW wf.branches WITH (security_barrier) AS
    SELECT r.id, b.n, s.name, b.item,
           CASE WHEN b.finished_at IS NULL AND (s.finished_at IS NOT NULL OR r.finished_at IS NOT NULL) THEN 'dropped'
                ELSE b.status END AS status,
           b.attempt, b.input, b.result, b.error->>'message' AS error, b.error->>'sqlstate' AS sqlstate,
           b.started_at, b.finished_at, b.due_at, d.workflow, r.seq AS run, b.run_id
    FROM wf_internal.branches b
    JOIN wf_internal.steps s ON s.run_id = b.run_id AND s.n = b.n
    JOIN wf_internal.runs r ON r.run_id = b.run_id
    JOIN wf_internal.definitions d USING (def_id)
    WHERE (SELECT wf_internal.sees_all()) OR pg_catalog.pg_has_role(r.owner::oid, 'USAGE');
COMMENT ON VIEW wf.branches IS 'steps begun by wf_begin, steps that are not transactional, and items of wf_map';

CREATE VIEW wf.signals WITH (security_barrier) AS
    SELECT r.id, g.name, g.payload, g.sent_at, g.sent_by, g.consumed_at, s.name AS consumed_by, g.key, g.refused,
           d.workflow, r.seq AS run, g.run_id
    FROM wf_internal.signals g
    JOIN wf_internal.runs r USING (run_id)
    JOIN wf_internal.definitions d USING (def_id)
    LEFT JOIN wf_internal.steps s ON s.run_id = g.run_id AND s.n = g.consumed_by
    WHERE (SELECT wf_internal.sees_all()) OR pg_catalog.pg_has_role(r.owner::oid, 'USAGE');
COMMENT ON VIEW wf.signals IS 'signals sent to instances, consumed or not';

CREATE VIEW wf.definitions WITH (security_barrier) AS
    SELECT d.workflow, d.version,
           d.schema_name || '.' || d.proc_name || '(' || d.proc_args || ')' AS function,
           min(d.created_at) AS first_started,
           coalesce(sum(n.open), 0)::bigint AS open_instances,
           coalesce(sum(n.finished), 0)::bigint AS finished_instances,
           wf_internal.is_current(d.schema_name, d.proc_name, d.proc_args, d.source_md5) AS is_current,
           EXISTS (SELECT FROM pg_catalog.pg_proc p
                   WHERE p.pronamespace = 'wf_versions'::pg_catalog.regnamespace AND p.proname = 'v_' || d.source_md5) AS is_restored,
           d.source
    FROM wf_internal.definitions d
    -- One pass over the runs, and one check of privileges an owner.
    LEFT JOIN (SELECT c.def_id, sum(c.open) AS open, sum(c.finished) AS finished
               FROM (SELECT r.def_id, r.owner, count(*) FILTER (WHERE r.finished_at IS NULL) AS open, count(r.finished_at) AS finished
                     FROM wf_internal.runs r GROUP BY r.def_id, r.owner) AS c
               WHERE (SELECT wf_internal.sees_all()) OR pg_catalog.pg_has_role(c.owner::oid, 'USAGE')
               GROUP BY c.def_id) AS n USING (def_id)
    GROUP BY d.workflow, d.version, d.schema_name, d.proc_name, d.proc_args, d.source_md5, d.source;
COMMENT ON VIEW wf.definitions IS 'versions of workflow functions that instances were started on, how many of the instances that you may see are on each, whether it is what the function is now, and whether it was created again in wf_versions';

GRANT SELECT ON wf.workers, wf.workflows, wf.steps, wf.branches, wf.signals, wf.definitions TO PUBLIC;
