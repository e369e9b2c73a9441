-- What the soak test has left behind: tables for the reader, then one line a check, for the script too. As superuser.
\pset footer off
\pset null ''
\pset linestyle ascii
\pset pager off

CREATE TEMP TABLE log (
    log_time timestamptz, user_name text, database_name text, process_id integer, connection_from text, session_id text,
    session_line_num bigint, command_tag text, session_start_time timestamptz, virtual_transaction_id text,
    transaction_id bigint, error_severity text, sql_state_code text, message text, detail text, hint text,
    internal_query text, internal_query_pos integer, context text, query text, query_pos integer, location text,
    application_name text, backend_type text, leader_pid integer, query_id bigint);
COPY log FROM :'log' WITH (FORMAT csv);

CREATE TEMP TABLE memory (sample text NOT NULL, at timestamptz NOT NULL, pid integer NOT NULL, what text NOT NULL,
                          rss_kb bigint NOT NULL, own_kb bigint NOT NULL);
\copy memory FROM pstdin

-- The last run of each id that clients have started, and what of it.
CREATE TEMP TABLE outcome AS
SELECT s.*, r.run_id, r.status, r.result AS got, r.created_at, r.started_at, r.finished_at
FROM started s
LEFT JOIN LATERAL (SELECT * FROM wf_internal.runs r WHERE r.id = s.id ORDER BY r.seq DESC LIMIT 1) AS r ON true;
CREATE INDEX ON outcome (id);

-- Steps as they are recorded, and as they have happened.
CREATE TEMP TABLE compared AS
SELECT coalesce(recorded.id, done.instance) AS id, coalesce(recorded.name, done.step) AS step,
       coalesce(recorded.n, 0) AS recorded, coalesce(done.n, 0) AS done
FROM (SELECT r.id, s.name, s.occurrence, count(*) AS n
      FROM wf_internal.steps s JOIN wf_internal.runs r USING (run_id)
      WHERE s.kind = 'step' AND s.status = 'completed'
      GROUP BY r.id, s.name, s.occurrence) AS recorded
FULL JOIN (SELECT instance, step, n AS occurrence, count(*) AS n FROM effects GROUP BY instance, step, n) AS done
    ON done.instance = recorded.id AND done.step = recorded.name AND done.occurrence = recorded.occurrence;
CREATE INDEX ON compared (id);
ANALYZE outcome, compared;

CREATE TEMP TABLE deadlock AS
SELECT backend_type AS backend,
       coalesce(substring(context FROM 'in relation "([^"]*)"'),
                substring(message FROM 'of relation ([0-9]+)')::oid::regclass::text) AS relation,
       concat_ws(' ', context, query) AS context
FROM log WHERE message LIKE '%detected deadlock while waiting%' OR sql_state_code = '40P01';
-- A worker logs an error that it gets over as LOG.
CREATE TEMP TABLE trouble AS
SELECT error_severity, sql_state_code, backend_type, left(regexp_replace(message, 'PID [0-9]+', 'PID', 'g'), 100) AS message, context
FROM log
WHERE sql_state_code NOT LIKE '00%' OR message ~* 'terminated by|exited with|crash|recover|internal error|unexpected';
CREATE TEMP VIEW engine_relation AS SELECT relname FROM pg_class WHERE relnamespace = 'wf_internal'::regnamespace;

\echo
\echo started, by kind and how they have ended; time from start to end
SELECT kind, status, count(*),
       round((percentile_cont(0.5) WITHIN GROUP (ORDER BY ms))::numeric, 1) AS p50_ms,
       round((percentile_cont(0.99) WITHIN GROUP (ORDER BY ms))::numeric, 1) AS p99_ms, round(max(ms)::numeric, 1) AS max_ms
FROM outcome, LATERAL (SELECT extract(epoch FROM finished_at - created_at) * 1000 AS ms) AS t
GROUP BY kind, status ORDER BY kind, status;

-- Not those of transactions that stay open behind the start.
CREATE TEMP TABLE quick AS
SELECT o.at, extract(epoch FROM o.finished_at - o.created_at) * 1000 AS ms, b.owner IS NOT NULL AS beside_slow
FROM outcome o
LEFT JOIN (SELECT DISTINCT l.owner, second
           FROM wf_internal.steps s JOIN outcome l USING (run_id),
                LATERAL generate_series(date_trunc('second', s.started_at), s.finished_at, '1 s') AS second
           WHERE s.name = 'slow' AND l.kind IN ('slow', 'cancelled')) AS b
    ON b.owner = o.owner AND b.second = date_trunc('second', o.at)
WHERE o.kind = 'quick' AND o.status = 'completed' AND NOT o.held;

\echo
\echo quick workflows, from start to end: by the time of their start, and beside slow steps of their role or not
WITH part AS (
    SELECT ntile(6) OVER (ORDER BY at)::text AS part, at, ms FROM quick
    UNION ALL
    SELECT CASE WHEN beside_slow THEN 'beside slow steps' ELSE 'without slow steps' END, at, ms FROM quick
)
SELECT part, to_char(min(at), 'HH24:MI:SS') AS from, to_char(max(at), 'HH24:MI:SS') AS until, count(*),
       round((percentile_cont(0.5) WITHIN GROUP (ORDER BY ms))::numeric, 1) AS p50_ms,
       round((percentile_cont(0.99) WITHIN GROUP (ORDER BY ms))::numeric, 1) AS p99_ms, round(max(ms)::numeric, 1) AS max_ms
FROM part GROUP BY part ORDER BY part;

\echo
\echo memory in MB: resident, and of that not shared
SELECT what, sample, count(*) AS processes, round(avg(rss_kb) / 1024, 1) AS rss, round(max(rss_kb) / 1024.0, 1) AS rss_max,
       round(avg(own_kb) / 1024, 1) AS own, round(max(own_kb) / 1024.0, 1) AS own_max
FROM memory GROUP BY what, sample ORDER BY what, min(at);

\echo
\echo deadlocks (pg_stat_database counts :deadlocks)
SELECT backend, relation, count(*) FROM deadlock GROUP BY backend, relation ORDER BY count(*) DESC;

\echo
\echo what else the server log says
SELECT error_severity AS severity, sql_state_code AS sqlstate, backend_type AS backend, message,
       left(regexp_replace(context, '\s+', ' ', 'g'), 80) AS context, count(*)
FROM trouble GROUP BY 1, 2, 3, 4, 5 ORDER BY count(*) DESC LIMIT 30;

\echo
\echo workflows that have ended otherwise than they should
SELECT s.kind, r.status, r.error->>'sqlstate' AS sqlstate, r.error->>'message' AS message, count(*), min(r.id) AS id
FROM started s LEFT JOIN wf_internal.runs r USING (id)
WHERE (r.status ~ ('^(' || s.ends || ')$')) IS NOT TRUE
GROUP BY 1, 2, 3, 4 ORDER BY count(*) DESC LIMIT 20;

\echo
\echo steps whose record and effects differ
SELECT * FROM compared WHERE recorded <> done LIMIT 20;

\echo
\echo tables and indexes
SELECT relname, pg_size_pretty(pg_relation_size(oid)) AS size
FROM pg_class WHERE relnamespace = 'wf_internal'::regnamespace AND relkind IN ('r', 'i') AND pg_relation_size(oid) > 100000
ORDER BY pg_relation_size(oid) DESC;

CREATE TEMP TABLE checked (n integer GENERATED ALWAYS AS IDENTITY, what text, found float, allowed float);
INSERT INTO checked (what, found, allowed) VALUES
    ('workflows started and committed that are not there', (SELECT count(*) FROM outcome WHERE run_id IS NULL), 0),
    ('workflows that nobody has started and committed',
        (SELECT count(*) FROM wf_internal.runs r WHERE NOT EXISTS (SELECT FROM started s WHERE s.id = r.id)), 0),
    ('workflows that have ended otherwise than they should',
        (SELECT count(*) FROM started s JOIN wf_internal.runs r USING (id) WHERE r.status !~ ('^(' || s.ends || ')$')), 0),
    ('results other than expected',
        (SELECT count(*) FROM outcome WHERE status = 'completed' AND result IS DISTINCT FROM got AND result IS NOT NULL), 0),
    ('still open, but for long sleepers',
        (SELECT count(*) FROM wf_internal.runs WHERE status IN ('pending', 'running', 'waiting') AND id NOT LIKE 'long-%'), 0),
    ('steps done twice', (SELECT coalesce(sum(greatest(done - recorded, 0)), 0) FROM compared), 0),
    ('steps recorded that were not done', (SELECT coalesce(sum(greatest(recorded - done, 0)), 0) FROM compared), 0),
    ('workflows with more or fewer steps than expected',
        (SELECT count(*) FROM outcome o LEFT JOIN (SELECT id, sum(done) AS done FROM compared GROUP BY id) AS c USING (id)
         WHERE o.status <> 'cancelled' AND o.effects <> coalesce(c.done, 0)), 0),
    ('cancelled when they had begun, and not cleaned up',
        (SELECT count(*) FROM outcome o
         WHERE o.kind = 'cancelled' AND EXISTS (SELECT FROM wf_internal.steps s WHERE s.run_id = o.run_id)
           AND NOT EXISTS (SELECT FROM compared c WHERE c.id = o.id AND c.step = 'release')), 0),
    ('steps left open in what has ended',
        (SELECT count(*) FROM wf_internal.steps s JOIN wf_internal.runs r USING (run_id)
         WHERE s.status IN ('waiting', 'retrying') AND r.finished_at IS NOT NULL), 0),
    ('signals sent to what has completed and never taken',
        (SELECT count(*) FROM wf_internal.signals g JOIN wf_internal.runs r USING (run_id)
         WHERE g.consumed_by IS NULL AND r.status = 'completed'), 0),
    ('rows left in ready', (SELECT count(*) FROM wf_internal.ready), 0),
    ('rows left in controls', (SELECT count(*) FROM wf_internal.controls), 0),
    ('timers left, but for long sleepers',
        (SELECT count(*) FROM wf_internal.timers t JOIN wf_internal.runs r USING (run_id) WHERE r.id NOT LIKE 'long-%'), 0),
    ('long sleepers that do not sleep',
        (SELECT count(*) FROM outcome o WHERE o.kind = 'long' AND NOT EXISTS (SELECT FROM wf_internal.timers t WHERE t.run_id = o.run_id)), 0),
    ('signals and cancels not sent', (SELECT count(*) FROM todo), 0),
    ('sum of all accounts', (SELECT abs(sum(balance)) FROM accounts), 0),
    ('clients that have failed', :failed_clients, 0),
    ('deadlocks at tables that are not the user''s',
        (SELECT count(*) FROM deadlock WHERE relation IS DISTINCT FROM 'accounts' OR relation IN (SELECT relname FROM engine_relation)
                                          OR context LIKE '%wf_internal%'), 0),
    ('errors and warnings in the server log', (SELECT count(*) FROM trouble WHERE sql_state_code NOT LIKE '00%'), 0),
    ('of these, internal errors',
        (SELECT count(*) FROM trouble WHERE sql_state_code LIKE 'XX%' OR message ~* 'internal error|unexpected'), 0),
    ('processes that have crashed, or ended by an error',
        (SELECT count(*) FROM trouble WHERE message ~* 'terminated by|exited with|crash|recover'), 0),
    ('memory of the largest executor at the end, MB',
        (SELECT max(own_kb) / 1024.0 FROM memory WHERE what = 'executor' AND sample = 'end'),
        (SELECT 1.25 * max(own_kb) / 1024.0 + 8 FROM memory WHERE what = 'executor' AND sample = 'middle')),
    ('quick workflows beside slow steps, p99, ms',
        (SELECT percentile_cont(0.99) WITHIN GROUP (ORDER BY ms) FROM quick WHERE beside_slow),
        (SELECT greatest(500, 3 * percentile_cont(0.99) WITHIN GROUP (ORDER BY ms)) FROM quick WHERE NOT beside_slow));

\echo
SELECT what AS check, round(found::numeric, 1) AS found, round(allowed::numeric, 1) AS allowed,
       CASE WHEN found <= allowed THEN 'yes' ELSE 'NO' END AS good
FROM checked ORDER BY n;

DO $$
DECLARE
    wrong bigint := (SELECT count(*) FROM checked c WHERE (c.found <= c.allowed) IS NOT TRUE);
BEGIN
    IF wrong > 0 THEN
        RAISE EXCEPTION '% checks find something', wrong;
    END IF;
END $$;
