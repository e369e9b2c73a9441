SET LOCAL search_path = pg_catalog, pg_temp;
-- What a person on call wants to know, a row each; no row: nothing to do. Every check is bounded: none reads what has ended
-- well, and of what may be many only so many are looked at.
CREATE VIEW wf.alerts WITH (security_barrier) AS
WITH
-- In a session that has not loaded the library yet the settings may not be known.
settings AS (
    SELECT coalesce(pg_catalog.current_setting('pg_workflow.alert_step', true), '1 h')::interval AS step,
           coalesce(pg_catalog.current_setting('pg_workflow.alert_wait', true), '5 min')::interval AS wait,
           pg_catalog.statement_timestamp() AS now
),
-- Roles with work that is ready, what they have to do it, and the first of it.
work AS (
    SELECT pg_catalog.pg_get_userbyid(o.owner) AS role, o.ready, e.executors, e.busy, r.id, r.status, coalesce(r.start_at, r.created_at) AS since
    FROM (SELECT q.owner, pg_catalog.count(*) AS ready FROM wf_internal.ready q GROUP BY q.owner) AS o
    CROSS JOIN LATERAL (SELECT pg_catalog.count(*) AS executors, pg_catalog.count(p.run_id) AS busy
                        FROM wf_internal.processes() p WHERE p.kind = 'executor' AND p.role = o.owner) AS e
    LEFT JOIN LATERAL (SELECT x.id, x.status, x.start_at, x.created_at
                       FROM (SELECT q.run_id FROM wf_internal.ready q WHERE q.owner = o.owner
                             ORDER BY q.owner, q.priority, q.seq, q.run_id LIMIT 1) AS f
                       JOIN wf_internal.runs x USING (run_id)) AS r ON true
    WHERE (SELECT wf_internal.sees_all()) OR pg_catalog.pg_has_role(o.owner::oid, 'USAGE')
),
at_work AS (
    SELECT w.pid, w.step, w.id, w.since FROM wf.workers w WHERE w.id IS NOT NULL
),
-- Of the newest that have failed.
failed AS (
    SELECT d.workflow, c.name AS step, r.error->>'sqlstate' AS sqlstate, wf_internal.message_shape(r.error->>'message') AS message,
           pg_catalog.count(*) AS count, min(r.finished_at) AS first_seen, max(r.id) AS example
    FROM (SELECT x.run_id, x.id, x.def_id, x.error, x.finished_at, x.status, x.owner FROM wf_internal.runs x
          WHERE x.error IS NOT NULL ORDER BY x.run_id DESC LIMIT 10000) AS r
    JOIN wf_internal.definitions d USING (def_id)
    LEFT JOIN LATERAL (
        SELECT s.name FROM wf_internal.steps s
        WHERE s.run_id = r.run_id AND s.status = 'failed' AND s.error->>'message' = r.error->>'message'
        ORDER BY s.n DESC LIMIT 1) AS c ON true
    WHERE r.status = 'failed' AND r.finished_at > pg_catalog.statement_timestamp() - interval '1 h'
      AND ((SELECT wf_internal.sees_all()) OR pg_catalog.pg_has_role(r.owner::oid, 'USAGE'))
    GROUP BY 1, 2, 3, 4
),
-- Of the timers that are due next.
retried AS (
    SELECT d.workflow, s.name AS step, e.error->>'sqlstate' AS sqlstate, wf_internal.message_shape(e.error->>'message') AS message,
           pg_catalog.count(*) AS count, max(e.attempt) AS attempts, min(s.started_at) AS since, max(r.id) AS example
    FROM (SELECT x.run_id, x.n, x.item FROM wf_internal.timers x WHERE x.n > 0 ORDER BY x.due_at LIMIT 10000) AS t
    JOIN wf_internal.steps s USING (run_id, n)
    LEFT JOIN wf_internal.branches b USING (run_id, n, item)
    CROSS JOIN LATERAL (SELECT coalesce(b.status, s.status) AS status, coalesce(b.attempt, s.attempt) AS attempt,
                               coalesce(b.error, s.error) AS error) AS e
    JOIN wf_internal.runs r USING (run_id)
    JOIN wf_internal.definitions d USING (def_id)
    WHERE e.status = 'retrying' AND e.attempt >= 3
      AND ((SELECT wf_internal.sees_all()) OR pg_catalog.pg_has_role(r.owner::oid, 'USAGE'))
    GROUP BY 1, 2, 3, 4
),
-- value: NULL stands for the seconds since "since". example: an instance to be explained, where there is no other hint.
checks AS (
    SELECT CASE h.item WHEN 'library preloaded' THEN 'not_preloaded' WHEN 'home' THEN 'copy' WHEN 'launcher' THEN 'no_launcher'
                       WHEN 'scheduler' THEN 'no_scheduler' ELSE pg_catalog.replace(h.item, ' ', '_') END AS alert,
           CASE WHEN h.item IN ('library preloaded', 'versions', 'home', 'launcher', 'scheduler') THEN 'critical' ELSE 'warning' END AS severity,
           NULL::text AS subject, h.item || ': ' || h.detail AS message, NULL::timestamptz AS since, NULL::numeric AS value, NULL::numeric AS threshold,
           h.hint, NULL::text AS example
    FROM (SELECT x.*, bool_and(x.ok) OVER (ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) IS NOT FALSE AS is_first FROM @extschema@.wf_health() x) AS h
    -- One row: what comes after follows from it. The work is looked at below, by role.
    WHERE NOT h.ok AND h.is_first AND h.item <> 'work' AND NOT pg_catalog.pg_is_in_recovery()

    UNION ALL
    SELECT 'no_executor', 'critical', 'role ' || w.role, pg_catalog.format('role %s has %s ready and no executor', w.role, w.ready),
           w.since, w.ready, 0, NULL, w.id
    FROM work w, settings t
    WHERE w.executors = 0 AND w.since < t.now - interval '10 s' AND NOT pg_catalog.pg_is_in_recovery()

    UNION ALL
    SELECT 'backlog', 'warning', 'role ' || w.role,
           pg_catalog.format('role %s has %s ready, the first of which waits since %s; %s of %s executors are busy', w.role, w.ready,
                             wf_internal.in_words(w.since, t.now), w.busy, w.executors),
           w.since, NULL, extract(epoch FROM t.wait), NULL, w.id
    FROM work w, settings t WHERE w.status = 'pending' AND w.executors > 0 AND w.since < t.now - t.wait

    UNION ALL
    SELECT 'late_timers', 'critical', NULL,
           pg_catalog.format('timers overdue: %s, the oldest by %s', x.count, wf_internal.in_words(x.oldest, t.now)),
           x.oldest, NULL, 10, 'The scheduler moves timers: see wf_health().', NULL
    FROM settings t,
         (SELECT pg_catalog.count(*) AS count, min(y.due_at) AS oldest FROM wf_internal.timers y
          WHERE y.due_at < pg_catalog.statement_timestamp() - interval '10 s'
            AND ((SELECT wf_internal.sees_all()) OR pg_catalog.pg_has_role(y.owner::oid, 'USAGE'))) AS x
    WHERE x.count > 0 AND NOT pg_catalog.pg_is_in_recovery()

    UNION ALL
    SELECT 'late_schedule', 'warning', 'schedule ' || s.name,
           pg_catalog.format('schedule "%s" was due %s ago and has started nothing', s.name, wf_internal.in_words(s.next_fire, t.now)),
           s.next_fire, NULL, 60, 'Are its workers there? See wf_health().', NULL
    FROM wf.schedules s, settings t
    WHERE s.status <> 'paused' AND s.next_fire < t.now - interval '1 min' AND NOT pg_catalog.pg_is_in_recovery()

    UNION ALL
    SELECT 'failing_schedule', 'warning', 'schedule ' || s.name,
           pg_catalog.format('schedule "%s" could not start what was due: %s (SQLSTATE %s)', s.name, s.last_error, s.last_sqlstate),
           s.last_error_at, NULL, 0, 'See last_error in wf.schedules.', NULL
    FROM wf.schedules s WHERE s.status <> 'paused' AND s.last_error_at > coalesce(s.last_fire, '-infinity')

    UNION ALL
    SELECT 'long_step', 'warning', a.id,
           pg_catalog.format('step "%s" of instance "%s" runs for %s in pid %s', a.step, a.id, wf_internal.in_words(a.since, t.now), a.pid),
           a.since, NULL, extract(epoch FROM t.step), NULL, a.id
    FROM at_work a, settings t WHERE a.since < t.now - t.step

    UNION ALL
    SELECT 'blocked_step', 'warning', a.id,
           pg_catalog.format('step "%s" of instance "%s" waits for a lock that pid %s has', a.step, a.id,
                             (SELECT pg_catalog.string_agg(DISTINCT u.pid::text, ', ') FROM pg_catalog.unnest(b.pids) AS u(pid))),
           a.since, NULL, extract(epoch FROM t.wait), NULL, a.id
    FROM at_work a, settings t, LATERAL (SELECT pg_catalog.pg_blocking_pids(a.pid) AS pids) AS b
    WHERE a.since < t.now - t.wait AND pg_catalog.cardinality(b.pids) > 0

    UNION ALL
    SELECT CASE WHEN q.paused THEN 'queue_paused' WHEN q.running = 0 AND (q.kinds #>> '{task,waiting}')::bigint > 0 THEN 'no_task_worker'
                ELSE 'queue_backlog' END,
           CASE WHEN q.paused THEN 'info' ELSE 'warning' END, 'queue ' || q.name,
           pg_catalog.format('queue "%s" has %s waiting, the oldest since %s, and %s running', q.name, q.waiting,
                             wf_internal.in_words(t.now - q.oldest, t.now), q.running),
           t.now - q.oldest, NULL, extract(epoch FROM t.wait),
           CASE WHEN q.paused THEN pg_catalog.format('SELECT wf_queue(%L, paused => false);', q.name)
                ELSE 'See its limits in wf.queues, and its workers in wf.tasks.' END, NULL
    FROM wf.queues q, settings t WHERE q.waiting > 0 AND q.oldest > t.wait

    UNION ALL
    SELECT 'failing_step', 'warning', f.workflow,
           pg_catalog.format('%s instances of workflow "%s" have failed within 1 h%s with SQLSTATE %s: %s', f.count, f.workflow,
                             ' at "' || f.step || '"', f.sqlstate, f.message),
           f.first_seen, f.count, 5, NULL, f.example
    FROM failed f WHERE f.count >= 5

    UNION ALL
    SELECT 'retrying_step', 'warning', f.workflow,
           pg_catalog.format('step "%s" of workflow "%s" is to be tried again (instances: %s, attempts so far: up to %s) after SQLSTATE %s: %s',
                             f.step, f.workflow, f.count, f.attempts, f.sqlstate, f.message),
           f.since, f.attempts, 3, NULL, f.example
    FROM retried f

    UNION ALL
    SELECT 'paused', 'info', coalesce(p.id, p.workflow, 'everything'),
           pg_catalog.format('%s is paused since %s, by %s%s; %s would run if it were not',
                             coalesce('instance "' || p.id || '"', 'workflow "' || p.workflow || '"', 'everything'),
                             wf_internal.in_words(p.paused_at, t.now), p.paused_by, ': ' || p.reason, p.parked),
           p.paused_at, NULL, 86400, 'SELECT wf_resume(...);', NULL
    FROM wf.pauses p, settings t WHERE p.paused_at < t.now - interval '1 day'

    UNION ALL
    SELECT 'retention_behind', 'warning', NULL,
           pg_catalog.format('the removal of finished instances is behind by %s', wf_internal.in_words(r.next_at, t.now)),
           r.next_at, NULL, 3600, 'See wf.retention, and the server log.', NULL
    FROM wf.retention r, settings t WHERE r.behind > interval '1 h' AND NOT pg_catalog.pg_is_in_recovery()

    UNION ALL
    SELECT 'vacuum_behind', 'warning', c.relname,
           pg_catalog.format('table wf_internal.%s has %s dead rows beside %s that live', c.relname, x.dead, x.live),
           pg_catalog.pg_stat_get_last_autovacuum_time(c.oid), x.dead, 100000,
           'Autovacuum is behind, or an old snapshot holds it up: see wf.load and pg_stat_activity.backend_xmin.', NULL
    FROM pg_catalog.pg_class c
    CROSS JOIN LATERAL (SELECT pg_catalog.pg_stat_get_dead_tuples(c.oid) AS dead, pg_catalog.pg_stat_get_live_tuples(c.oid) AS live) AS x
    WHERE c.relnamespace = 'wf_internal'::regnamespace AND c.relkind = 'r' AND x.dead > 100000 AND x.dead > x.live / 2
)
SELECT c.alert, c.severity, c.subject, c.message, c.since,
       coalesce(c.value, pg_catalog.round(extract(epoch FROM pg_catalog.statement_timestamp() - c.since))) AS value,
       pg_catalog.round(c.threshold) AS threshold,
       coalesce(c.hint, pg_catalog.format('SELECT * FROM wf_explain(%L);', c.example)) AS hint
FROM checks c
ORDER BY pg_catalog.array_position(ARRAY['critical', 'warning', 'info'], c.severity), c.alert, c.subject;
COMMENT ON VIEW wf.alerts IS 'what somebody should look at now: a code, a severity (critical, warning, info), a sentence with the numbers, since when, the value and the threshold that it has passed (of times in seconds), and what to do; no row if all is well';

GRANT SELECT ON wf.alerts TO PUBLIC;
