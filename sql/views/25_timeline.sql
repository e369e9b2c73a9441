SET LOCAL search_path = pg_catalog, pg_temp;
-- What an instance has done, and when: one row an event or span. The engine draws its pictures from this view.
-- A call is a row; parts of it (its time in a queue, retries, an attempt that is being made) are rows of their own, whose
-- parent it is. The first row of an instance is the run itself. n, item and part say what a row is about: calls have their
-- number in the history, items of maps and branches theirs, parts count from 1. OFFSET 0 keeps the lookups apart: the planner
-- would find rows by their run alone, all of them for each.
CREATE VIEW wf.timeline WITH (security_barrier) AS
    SELECT r.id, r.seq AS run, t.nr, t.parent, t.kind, t.name, t.status, t.attempts, t.started_at, t.finished_at,
           t.finished_at - t.started_at AS duration, t.detail, d.workflow, r.run_id
    FROM wf_internal.runs r
    JOIN wf_internal.definitions d USING (def_id)
    CROSS JOIN LATERAL (
        SELECT o.nr,
               CASE WHEN o.nr = 1 THEN NULL
                    WHEN o.part > 0 THEN coalesce(max(o.nr) FILTER (WHERE o.part = 0) OVER (PARTITION BY o.n, o.item), 1)
                    WHEN o.item > 0 THEN max(o.nr) FILTER (WHERE o.part = 0 AND o.item = 0) OVER (PARTITION BY o.n)
                    ELSE 1 END AS parent,
               o.kind, o.name, o.status, o.attempts, o.started_at, o.finished_at, o.detail
        FROM (
            SELECT row_number() OVER (ORDER BY e.n = 0 AND e.part = 0 DESC, e.at, e.n, e.item, e.part) AS nr, e.*
            FROM (
                -- The run, its delayed start, and its wait for a first turn.
                SELECT 0 AS n, 0 AS item, 0 AS part, 'run' AS kind, d.workflow AS name,
                       CASE WHEN r.finished_at IS NULL AND EXISTS (
                                SELECT FROM pg_catalog.jsonb_to_recordset(wf_internal.facts()->'workers') AS f(run_id uuid)
                                WHERE f.run_id = r.run_id) THEN 'running'
                            ELSE r.status END AS status,
                       NULL::integer AS attempts, r.created_at AS at, r.created_at AS started_at, r.finished_at,
                       pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object(
                           'waiting_for', r.waiting_for, 'error', r.error->'message', 'sqlstate', r.error->'sqlstate',
                           'parent', (SELECT p.id FROM wf_internal.runs p WHERE p.run_id = r.parent_run_id))) AS detail
                UNION ALL
                SELECT 0, 0, 1, 'delay', d.workflow, CASE WHEN r.start_at <= pg_catalog.now() THEN 'completed' ELSE 'waiting' END,
                       NULL, r.created_at, r.created_at,
                       CASE WHEN r.start_at <= pg_catalog.now() THEN r.start_at ELSE r.finished_at END,
                       pg_catalog.jsonb_build_object('due_at', r.start_at)
                WHERE r.start_at > r.created_at AND (r.started_at IS NULL OR r.start_at <= r.started_at)
                UNION ALL
                SELECT 0, 0, 2, 'queue', d.workflow,
                       CASE WHEN coalesce(r.started_at, r.finished_at) IS NULL THEN 'waiting' ELSE 'completed' END,
                       NULL, q.since, q.since, coalesce(r.started_at, r.finished_at),
                       pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object(
                           'queue', (SELECT u.name FROM wf_internal.queues u WHERE u.queue_id = (r.queue->>'id')::integer)))
                FROM (SELECT CASE WHEN r.started_at IS NULL OR r.start_at <= r.started_at THEN greatest(r.created_at, r.start_at)
                                  ELSE r.created_at END AS since) AS q
                WHERE q.since <= coalesce(r.started_at, r.finished_at, pg_catalog.clock_timestamp())
                UNION ALL
                -- Calls. Of a compensation it is known when it was registered and when it was done, not when it began.
                SELECT s.n, 0, 0, s.kind, s.name, CASE WHEN s.finished_at IS NULL THEN coalesce(k.status, b.status, s.status) ELSE s.status END,
                       CASE WHEN s.finished_at IS NULL THEN coalesce(k.attempt, b.attempt, s.attempt) ELSE s.attempt END,
                       x.since, x.since, coalesce(b.finished_at, k.finished_at, s.finished_at),
                       pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object(
                           'occurrence', nullif(s.occurrence, 1), 'begun', nullif(s.begun, false),
                           'due_at', CASE WHEN s.finished_at IS NULL THEN coalesce(b.due_at, s.due_at) END,
                           'error', coalesce(s.error, b.error, k.error)->'message',
                           'sqlstate', coalesce(s.error, b.error, k.error)->'sqlstate',
                           'registered_at', CASE WHEN s.kind = 'compensation' THEN s.started_at END,
                           'child', CASE WHEN s.kind = 'child'
                                         THEN coalesce(s.request->>'id', r.id || '/' || s.name || coalesce('/' || nullif(s.occurrence, 1), '')) END,
                           'cached', CASE WHEN s.kind = 'step' AND s.attempt = 0 THEN s.request->'cached' END))
                FROM wf_internal.steps s
                LEFT JOIN LATERAL (SELECT * FROM wf_internal.branches y
                                   WHERE y.run_id = s.run_id AND y.n = s.n AND y.item = 1 AND s.kind = 'step' OFFSET 0) AS b ON true
                LEFT JOIN LATERAL (SELECT * FROM wf_internal.tasks y
                                   WHERE y.run_id = s.run_id AND y.n = s.n AND s.kind = 'task' OFFSET 0) AS k ON true
                CROSS JOIN LATERAL (SELECT CASE WHEN s.kind = 'compensation' THEN coalesce(s.finished_at, s.started_at)
                                                ELSE s.started_at END AS since) AS x
                WHERE s.run_id = r.run_id
                UNION ALL
                -- Attempts that were made before the one that counts, with the waits between them.
                SELECT s.n, 0, 2, 'retry', s.name, s.status, s.attempt, s.started_at, coalesce(b.started_at, s.started_at),
                       coalesce(b.finished_at, s.finished_at),
                       pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object(
                           'next_attempt_at', CASE WHEN s.finished_at IS NULL THEN coalesce(b.due_at, s.due_at) END))
                FROM wf_internal.steps s
                LEFT JOIN LATERAL (SELECT * FROM wf_internal.branches y
                                   WHERE y.run_id = s.run_id AND y.n = s.n AND y.item = 1 AND s.kind = 'step' OFFSET 0) AS b ON true
                WHERE s.run_id = r.run_id AND s.kind = 'step'
                  AND (s.attempt > 1 OR s.status = 'retrying' OR b.attempt > 1 OR b.status = 'retrying')
                UNION ALL
                -- Steps that run beside their run wait for an executor, items of maps for their turn.
                SELECT b.n, CASE WHEN s.kind = 'map' THEN b.item ELSE 0 END, 1, 'queue', s.name,
                       CASE WHEN coalesce(b.started_at, b.finished_at, s.finished_at, r.finished_at) IS NULL THEN 'waiting' ELSE 'completed' END,
                       NULL, s.started_at, s.started_at, coalesce(b.started_at, b.finished_at, s.finished_at, r.finished_at), '{}'
                FROM wf_internal.steps s
                CROSS JOIN LATERAL (SELECT * FROM wf_internal.branches y WHERE y.run_id = s.run_id AND y.n = s.n OFFSET 0) AS b
                WHERE s.run_id = r.run_id AND s.kind IN ('step', 'map') AND NOT coalesce(s.kind = 'map' AND s.request ? 'workflow', false)
                UNION ALL
                SELECT b.n, b.item, 0, 'branch', s.name,
                       CASE WHEN b.finished_at IS NULL AND coalesce(s.finished_at, r.finished_at) IS NOT NULL THEN 'dropped'
                            ELSE b.status END,
                       b.attempt, coalesce(b.started_at, s.started_at), b.started_at,
                       CASE WHEN b.started_at IS NOT NULL THEN coalesce(b.finished_at, s.finished_at, r.finished_at) END,
                       pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object(
                           'item', b.item, 'due_at', CASE WHEN b.finished_at IS NULL THEN b.due_at END,
                           'error', b.error->'message', 'sqlstate', b.error->'sqlstate'))
                FROM wf_internal.steps s
                CROSS JOIN LATERAL (SELECT * FROM wf_internal.branches y WHERE y.run_id = s.run_id AND y.n = s.n OFFSET 0) AS b
                WHERE s.run_id = r.run_id AND s.kind = 'map' AND NOT coalesce(s.request ? 'workflow', false)
                UNION ALL
                -- Items that are instances of their own.
                SELECT c.n, c.item, 0, 'branch', s.name, c.status, NULL, c.started_at, c.started_at, c.finished_at,
                       pg_catalog.jsonb_build_object('item', c.item, 'child', c.id)
                FROM (SELECT k.parent_n AS n, k.parent_item AS item, k.id, min(k.created_at) AS started_at,
                             CASE WHEN bool_and(k.finished_at IS NOT NULL) THEN max(k.finished_at) END AS finished_at,
                             (pg_catalog.array_agg(k.status ORDER BY k.seq DESC))[1] AS status
                      FROM wf_internal.runs k
                      WHERE k.parent_run_id = r.run_id AND k.parent_item > 0
                      GROUP BY k.parent_n, k.parent_item, k.id) AS c
                CROSS JOIN LATERAL (SELECT * FROM wf_internal.steps y WHERE y.run_id = r.run_id AND y.n = c.n OFFSET 0) AS s
                UNION ALL
                -- Tasks: when the last attempt was begun is known.
                SELECT k.n, 0, 1, CASE WHEN k.attempt > 1 OR k.attempt = 1 AND x.again THEN 'retry' ELSE 'queue' END, s.name,
                       CASE WHEN x.until IS NULL THEN 'waiting' ELSE 'completed' END,
                       k.attempt, k.created_at, k.created_at, x.until,
                       pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object(
                           'queue', u.name, 'worker', k.worker,
                           'next_attempt_at', CASE WHEN k.status = 'retrying' AND k.queued_at < 'infinity' THEN k.queued_at END))
                FROM wf_internal.tasks k
                CROSS JOIN LATERAL (SELECT * FROM wf_internal.steps y WHERE y.run_id = k.run_id AND y.n = k.n OFFSET 0) AS s
                JOIN wf_internal.queues u ON u.queue_id = k.queue_id
                CROSS JOIN LATERAL (SELECT k.finished_at IS NULL AND k.status IN ('waiting', 'retrying') AS again) AS y
                CROSS JOIN LATERAL (SELECT y.again, CASE WHEN y.again THEN s.finished_at
                                                         ELSE coalesce(k.started_at, k.finished_at, s.finished_at) END AS until) AS x
                WHERE k.run_id = r.run_id
                UNION ALL
                -- What processes are at just now: an attempt of a call that is open, else a step that is not recorded yet.
                SELECT coalesce(o.n, 2147483647), 0, 3 + (f.i::integer), CASE WHEN o.n IS NULL THEN 'step' ELSE 'attempt' END, f.step,
                       'running', NULL, pg_catalog.to_timestamp(f.since), pg_catalog.to_timestamp(f.since), NULL,
                       pg_catalog.jsonb_build_object('pid', f.pid)
                FROM ROWS FROM (pg_catalog.jsonb_to_recordset(wf_internal.facts()->'workers')
                                AS (pid integer, run_id uuid, step text, since double precision)) WITH ORDINALITY AS f(pid, run_id, step, since, i)
                LEFT JOIN LATERAL (SELECT min(s.n) AS n FROM wf_internal.steps s
                                   WHERE s.run_id = r.run_id AND s.name = f.step AND s.finished_at IS NULL
                                   HAVING count(*) = 1) AS o ON true
                WHERE f.run_id = r.run_id AND f.step IS NOT NULL AND r.finished_at IS NULL
                UNION ALL
                SELECT 0, 0, 4, 'sent', g.name, CASE WHEN g.consumed_at IS NULL THEN 'waiting' ELSE 'completed' END,
                       NULL, g.sent_at, g.sent_at, g.sent_at,
                       pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object('by', g.sent_by::text, 'key', g.key, 'refused', g.refused))
                FROM wf_internal.signals g
                WHERE g.run_id = r.run_id
                UNION ALL
                -- What operators have done; a pause lasts until the run is resumed.
                SELECT 0, 0, 5, CASE WHEN a.action = 'pause' THEN 'pause' ELSE 'action' END, a.action,
                       CASE WHEN a.action = 'pause' AND x.until IS NULL THEN 'waiting' ELSE 'completed' END,
                       NULL, a.at, a.at, x.until,
                       pg_catalog.jsonb_strip_nulls(pg_catalog.jsonb_build_object('by', a.by::text, 'reason', a.reason, 'detail', a.detail))
                FROM wf_internal.actions a
                CROSS JOIN LATERAL (SELECT CASE WHEN a.action <> 'pause' THEN a.at
                                                ELSE coalesce((SELECT min(z.at) FROM wf_internal.actions z
                                                               WHERE z.run_id = r.run_id AND z.seq > a.seq AND z.action = 'resume'),
                                                              r.finished_at) END AS until) AS x
                WHERE a.run_id = r.run_id
            ) AS e
        ) AS o
        ORDER BY o.nr
    ) AS t
    WHERE ((SELECT wf_internal.sees_all()) OR pg_catalog.pg_has_role(r.owner::oid, 'USAGE'));
COMMENT ON VIEW wf.timeline IS 'what instances have done over time, in order: a row an event or span, with the row that it is a part of (parent)';

GRANT SELECT ON wf.timeline TO PUBLIC;
