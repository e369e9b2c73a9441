SET LOCAL search_path = @extschema@, pg_temp;
-- Why an instance does not move. A reason is a JSON object whose keys are columns of wf_explain: each of the functions here
-- gives those that it knows. They run as the engine, behind a check of who asks. What pg_stat_activity says of other sessions
-- is added by wf_explain itself, with the rights of its caller. That library and schema differ is said by the library, which
-- then calls nothing of this.

-- Bodies that are parsed when they are created find Postgres' operators, and nobody else's.
SET LOCAL search_path = pg_catalog, pg_temp;

CREATE FUNCTION wf_internal.message_shape(message text) RETURNS text
    LANGUAGE c IMMUTABLE STRICT PARALLEL SAFE AS 'MODULE_PATHNAME', 'wf_message_shape';
COMMENT ON FUNCTION wf_internal.message_shape(text) IS 'a message without the values in it, by which wf.failures groups';

CREATE FUNCTION wf_internal.in_words(since timestamptz, until timestamptz) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN (
        SELECT CASE WHEN x.s < 1 THEN pg_catalog.round(greatest(x.s, 0), 1) || ' s'
                    WHEN x.s < 120 THEN pg_catalog.floor(x.s) || ' s'
                    WHEN x.s < 7200 THEN pg_catalog.floor(x.s / 60) || ' min'
                    WHEN x.s < 172800 THEN pg_catalog.floor(x.s / 3600) || ' h'
                    WHEN x.s IS NOT NULL THEN pg_catalog.floor(x.s / 86400) || ' days' ELSE 'ever' END
        FROM (SELECT CASE WHEN pg_catalog.isfinite(since) AND pg_catalog.isfinite(until)
                          THEN extract(epoch FROM until - since) END AS s) AS x);
COMMENT ON FUNCTION wf_internal.in_words(timestamptz, timestamptz) IS 'the time between two others, for people';

CREATE FUNCTION wf_internal.due_in_words(due timestamptz, now timestamptz) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN CASE WHEN NOT pg_catalog.isfinite(due) THEN 'never'
                WHEN due >= now THEN 'in ' || wf_internal.in_words(now, due)
                ELSE wf_internal.in_words(due, now) || ' ago' END;
COMMENT ON FUNCTION wf_internal.due_in_words(timestamptz, timestamptz) IS 'how far a time is away, for people';

CREATE FUNCTION wf_internal.because(
    reason      text,
    explanation text,
    hint        text        DEFAULT NULL,
    step        text        DEFAULT NULL,
    since       timestamptz DEFAULT NULL,
    until       timestamptz DEFAULT NULL,
    pid         integer     DEFAULT NULL,
    blocked_by  integer[]   DEFAULT NULL,
    detail      jsonb       DEFAULT NULL
) RETURNS jsonb
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
        SELECT pg_catalog.jsonb_build_object('reason', reason, 'explanation', explanation, 'hint', hint, 'step', step, 'since', since,
                                             'until', until, 'pid', pid, 'blocked_by', blocked_by, 'detail', detail)
    $$;
COMMENT ON FUNCTION wf_internal.because(text, text, text, text, timestamptz, timestamptz, integer, integer[], jsonb) IS 'a reason';

-- --- an instance that has ended ----------------------------------------------------------------------------------------

CREATE FUNCTION wf_internal.failed_call(of_run uuid, of_error jsonb) RETURNS wf_internal.steps
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
        SELECT s FROM wf_internal.steps s
        WHERE s.run_id = of_run AND s.status = 'failed' AND s.kind NOT IN ('compensation', 'rollback')
          AND s.error->>'sqlstate' = of_error->>'sqlstate' AND s.error->>'message' = of_error->>'message'
        ORDER BY s.n DESC LIMIT 1
    $$;
COMMENT ON FUNCTION wf_internal.failed_call(uuid, jsonb) IS 'the call whose error has ended a run; none if that is one of the function itself';

CREATE FUNCTION wf_internal.reason_ended(run wf_internal.runs, t timestamptz) RETURNS jsonb
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
    DECLARE
        ago constant text := wf_internal.in_words(run.finished_at, t);
        call wf_internal.steps;
        words text;
        hint text;
    BEGIN
        IF run.status = 'completed' THEN
            RETURN wf_internal.because('completed', pg_catalog.format('has completed %s ago, after %s', ago,
                wf_internal.in_words(coalesce(run.started_at, run.created_at), run.finished_at)), since => run.finished_at);
        ELSIF run.status = 'continued' THEN
            RETURN wf_internal.because('continued', pg_catalog.format('was continued %s ago as the next run of its id', ago),
                                       since => run.finished_at);
        END IF;
        IF run.status = 'failed' THEN
            call := wf_internal.failed_call(run.run_id, run.error);
            words := pg_catalog.format('has failed %s ago%s: %s (SQLSTATE %s)', ago,
                CASE WHEN call.n IS NOT NULL THEN pg_catalog.format(' at %s "%s"', call.kind, call.name)
                     || CASE WHEN call.attempt > 1 THEN pg_catalog.format(', attempt %s', call.attempt) ELSE '' END ELSE '' END,
                run.error->>'message', run.error->>'sqlstate');
        ELSE
            words := pg_catalog.format('was cancelled %s ago', ago)
                || coalesce(': ' || pg_catalog.substring(run.error->>'detail', '^Reason: (.*)\.$'), '');
        END IF;
        IF run.error ? 'compensated' THEN
            words := words || '; what it had done was undone';
            hint := 'It cannot be retried: start it anew.';
        ELSE
            hint := pg_catalog.format('When the cause is gone, SELECT wf_retry(%L); has it go on from there.', run.id);
        END IF;
        RETURN wf_internal.because(run.status, words, hint, call.name, since => run.finished_at, detail => run.error);
    END $$;
COMMENT ON FUNCTION wf_internal.reason_ended(wf_internal.runs, timestamptz) IS 'how a run has ended, and what can be done about it';

-- --- processes ---------------------------------------------------------------------------------------------------------

CREATE FUNCTION wf_internal.processes() RETURNS TABLE (kind text, pid integer, role oid, run_id uuid, step text, since timestamptz)
    LANGUAGE sql STABLE ROWS 10
BEGIN ATOMIC
    SELECT w.kind, w.pid, w.role, w.run_id, w.step, pg_catalog.to_timestamp(w.since)
    FROM pg_catalog.jsonb_to_recordset(wf_internal.facts()->'workers')
         AS w(kind text, pid integer, role oid, run_id uuid, step text, since double precision);
END;
COMMENT ON FUNCTION wf_internal.processes() IS 'the processes of this database as shared memory has them';

-- What a process waits for, as pg_locks has it; which row it is Postgres does not say, but the table.
CREATE FUNCTION wf_internal.reason_blocked(of_pid integer, of_step text, of_owner oid) RETURNS SETOF jsonb
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
        SELECT wf_internal.because('blocked',
            pg_catalog.format('%s waits for %s, held by %s',
                coalesce('step "' || of_step || '"', 'the workflow function'), w.what,
                (SELECT pg_catalog.string_agg('pid ' || h.pid || coalesce(' (' || h.modes || ')', '') || coalesce(h.work, ''), ', ')
                 FROM (SELECT p.pid,
                              (SELECT pg_catalog.string_agg(DISTINCT k.mode, ', ') FROM pg_catalog.pg_locks k
                               WHERE l.locktype = 'relation' AND k.pid = p.pid AND k.granted
                                 AND k.locktype = 'relation' AND k.relation = l.relation) AS modes,
                              (SELECT pg_catalog.format(', which is at instance "%s"', r.id)
                               FROM wf_internal.processes() o JOIN wf_internal.runs r USING (run_id)
                               WHERE o.pid = p.pid AND r.owner = of_owner LIMIT 1) AS work
                       FROM (SELECT DISTINCT u.pid FROM pg_catalog.unnest(b.pids) AS u(pid)) AS p) AS h)),
            'See the session in pg_stat_activity; pg_terminate_backend(pid) ends it and rolls back what it has done.',
            of_step, l.waitstart, pid => of_pid, blocked_by => b.pids,
            detail => pg_catalog.jsonb_build_object('locktype', l.locktype, 'mode', l.mode, 'relation', w.relation))
        FROM (SELECT pg_catalog.pg_blocking_pids(of_pid) AS pids) AS b
        CROSS JOIN LATERAL (SELECT k.* FROM pg_catalog.pg_locks k WHERE k.pid = of_pid AND NOT k.granted LIMIT 1) AS l
        CROSS JOIN LATERAL (
            SELECT x.relation,
                   CASE WHEN l.locktype = 'transactionid' AND x.relation IS NOT NULL OR l.locktype = 'tuple' THEN 'a row of ' || x.relation
                        WHEN l.locktype = 'transactionid' THEN 'the end of a transaction'
                        WHEN l.locktype = 'advisory' THEN 'an advisory lock'
                        ELSE l.mode || ' on ' || coalesce(x.relation, l.locktype) END AS what
            FROM (SELECT coalesce(l.relation,
                                  (SELECT k.relation FROM pg_catalog.pg_locks k
                                   WHERE k.pid = of_pid AND k.granted AND k.locktype = 'tuple' LIMIT 1))::regclass::text AS relation) AS x) AS w
        WHERE pg_catalog.cardinality(b.pids) > 0
    $$;
COMMENT ON FUNCTION wf_internal.reason_blocked(integer, text, oid) IS 'the lock that a process waits for';

CREATE FUNCTION wf_internal.reasons_running(run wf_internal.runs, t timestamptz) RETURNS SETOF jsonb
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
    DECLARE
        w record;
    BEGIN
        FOR w IN SELECT p.kind, p.pid, p.step, p.since FROM wf_internal.processes() p WHERE p.run_id = run.run_id ORDER BY p.since, p.pid LOOP
            RETURN QUERY SELECT wf_internal.reason_blocked(w.pid, w.step, run.owner);
            RETURN NEXT wf_internal.because('running',
                pg_catalog.format('%s runs for %s in pid %s%s', coalesce('step "' || w.step || '"', 'the workflow function'),
                                  wf_internal.in_words(w.since, t), w.pid,
                                  CASE WHEN w.kind = 'session' THEN ', a session in wf_run_pending' ELSE '' END),
                pg_catalog.format('SELECT wf_cancel(%L); interrupts it.', run.id),
                w.step, w.since, pid => w.pid);
        END LOOP;
    END $$;
COMMENT ON FUNCTION wf_internal.reasons_running(wf_internal.runs, timestamptz) IS 'the processes that are at a run';

CREATE FUNCTION wf_internal.reason_server() RETURNS SETOF jsonb
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
    DECLARE
        f constant jsonb := wf_internal.facts();
        runs boolean := EXISTS (SELECT FROM wf_internal.processes() p WHERE p.kind = 'scheduler');
    BEGIN
        IF pg_catalog.pg_is_in_recovery() THEN
            RETURN NEXT wf_internal.because('standby', 'this server is a standby, on which nothing runs',
                'Look at the primary, or promote this server.');
        ELSIF NOT (f->>'preloaded')::boolean THEN
            RETURN NEXT wf_internal.because('not_preloaded', 'no worker runs: the library was not loaded when the server started',
                'Add pg_workflow to shared_preload_libraries and restart the server, or drive work by CALL wf_run_pending().');
        ELSIF NOT wf_internal.is_home() THEN
            RETURN NEXT wf_internal.because('copy', 'workers stand still: this database is a copy, whose instances are left alone',
                'SELECT wf_adopt(); if they are to run here.');
        ELSIF NOT runs AND NOT (f->>'launcher')::boolean THEN
            RETURN NEXT wf_internal.because('no_launcher', 'no worker runs: the launcher is not there', 'See the server log.');
        ELSIF NOT runs THEN
            RETURN NEXT wf_internal.because('no_scheduler',
                'no scheduler runs in this database: timers are not looked at, and no executor is started',
                'Is max_worker_processes large enough? The server log says when no slot is free.');
        END IF;
    END $$;
COMMENT ON FUNCTION wf_internal.reason_server() IS 'what keeps everything in this database from running';

-- --- before a turn -----------------------------------------------------------------------------------------------------

CREATE FUNCTION wf_internal.reasons_paused(run wf_internal.runs, workflow text, t timestamptz) RETURNS SETOF jsonb
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
        SELECT wf_internal.because('paused',
            pg_catalog.format('%s paused since %s, by %s%s',
                CASE WHEN p.run_id IS NOT NULL THEN 'is' WHEN p.workflow IS NOT NULL THEN pg_catalog.format('workflow "%s" is', p.workflow)
                     ELSE 'everything is' END,
                wf_internal.in_words(p.paused_at, t), pg_catalog.pg_get_userbyid(p.paused_by), ': ' || p.reason),
            pg_catalog.format('SELECT wf_resume(%s);',
                CASE WHEN p.run_id IS NOT NULL THEN pg_catalog.quote_literal(run.id)
                     WHEN p.workflow IS NOT NULL THEN 'workflow => ' || pg_catalog.quote_literal(p.workflow) ELSE '' END),
            since => p.paused_at, detail => pg_catalog.jsonb_build_object('paused_by', pg_catalog.pg_get_userbyid(p.paused_by), 'reason', p.reason))
        FROM wf_internal.pauses p
        WHERE p.run_id = run.run_id
           OR p.run_id IS NULL AND (p.owner IS NULL OR p.owner = run.owner)
              AND (p.workflow IS NULL OR p.workflow = reasons_paused.workflow)
        ORDER BY p.run_id IS NULL, p.pause_id
    $$;
COMMENT ON FUNCTION wf_internal.reasons_paused(wf_internal.runs, text, timestamptz) IS 'the pauses that hold a run';

-- Who has the row of a run locked has it in its hands, or keeps it from others: an executor that has claimed it and is at
-- another one, an operator whose transaction is open.
CREATE FUNCTION wf_internal.reason_held(of_run uuid, of_owner oid) RETURNS SETOF jsonb
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
        SELECT CASE WHEN o.pid IS NOT NULL THEN
                wf_internal.because('claimed', pg_catalog.format('is claimed by pid %s, which %s', l.pid,
                        CASE WHEN o.run_id IS NULL THEN 'is about to commit' ELSE 'is at another instance of the same transaction' END)
                    || coalesce(': "' || (SELECT r.id FROM wf_internal.runs r WHERE r.run_id = o.run_id AND r.owner = of_owner) || '"', ''),
                    since => o.since, pid => l.pid)
            ELSE
                wf_internal.because('locked', pg_catalog.format('its row is locked by pid %s, whose transaction has not ended', l.pid),
                    'See the session in pg_stat_activity: it has to commit or roll back.', pid => l.pid, blocked_by => ARRAY[l.pid])
            END
        FROM wf_internal.runs r
        JOIN pg_catalog.pg_locks l ON l.locktype = 'transactionid' AND l.granted AND l.transactionid = r.xmax AND l.pid <> pg_catalog.pg_backend_pid()
        LEFT JOIN wf_internal.processes() o ON o.pid = l.pid
        WHERE r.run_id = of_run AND o.run_id IS DISTINCT FROM of_run
    $$;
COMMENT ON FUNCTION wf_internal.reason_held(uuid, oid) IS 'the transaction that has a run locked';

CREATE FUNCTION wf_internal.reason_ready(run wf_internal.runs, t timestamptz) RETURNS SETOF jsonb
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
    DECLARE
        seen constant integer := 100000;
        owner constant text := pg_catalog.pg_get_userbyid(run.owner);
        most constant integer := pg_catalog.current_setting('pg_workflow.max_executors');
        place record;
        x record;
        what text;
    BEGIN
        SELECT q.before, q.n INTO place
        FROM (SELECT w.run_id, w.n, pg_catalog.row_number() OVER () - 1 AS before
              FROM (SELECT r.run_id, r.n FROM wf_internal.ready r WHERE r.owner = run.owner
                    ORDER BY r.owner, r.priority, r.seq, r.run_id LIMIT seen) AS w) AS q
        WHERE q.run_id = run.run_id LIMIT 1;
        IF FOUND THEN
            what := CASE WHEN place.n IS NULL THEN 'is ready for a turn' ELSE 'a step beside it is ready' END
                || pg_catalog.format(', %s before it', place.before);
        ELSIF run.status IN ('pending', 'running') AND run.queue IS NULL AND coalesce(run.start_at <= t, true)
              AND EXISTS (SELECT FROM wf_internal.ready r WHERE r.owner = run.owner ORDER BY r.owner, r.priority, r.seq, r.run_id OFFSET seen) THEN
            what := pg_catalog.format('is ready for a turn, more than %s before it', seen);
        ELSE
            RETURN;
        END IF;
        RETURN QUERY SELECT wf_internal.reason_held(run.run_id, run.owner);
        IF FOUND THEN
            RETURN;
        END IF;
        SELECT pg_catalog.count(*) AS total, pg_catalog.count(p.run_id) AS busy, min(p.since) FILTER (WHERE p.run_id IS NOT NULL) AS since INTO x
        FROM wf_internal.processes() p WHERE p.kind = 'executor' AND p.role = run.owner;
        IF x.total = 0 THEN
            RETURN NEXT wf_internal.because('no_executor', pg_catalog.format('%s; role %s has no executor', what, owner),
                (SELECT CASE WHEN a.oid IS NULL THEN 'The role was dropped.'
                             WHEN NOT a.rolcanlogin THEN pg_catalog.format('The role may not log in: ALTER ROLE %I LOGIN.', a.rolname)
                             WHEN NOT pg_catalog.has_database_privilege(a.oid, pg_catalog.current_database(), 'CONNECT')
                                 THEN pg_catalog.format('The role may not connect: GRANT CONNECT ON DATABASE %I TO %I.',
                                                         pg_catalog.current_database(), a.rolname)
                             ELSE 'One is started within a moment. If not, see the server log: max_worker_processes may be too small.' END
                 FROM (SELECT) AS one LEFT JOIN pg_catalog.pg_roles a ON a.oid = run.owner),
                detail => pg_catalog.jsonb_build_object('before', place.before));
        ELSIF x.busy = x.total THEN
            RETURN NEXT wf_internal.because('executors_busy',
                pg_catalog.format(CASE WHEN x.total = 1 THEN '%s; the executor of role %s is busy, for %3$s'
                                       ELSE '%s; all %4$s executors of role %2$s are busy, the longest for %3$s' END,
                                  what, owner, wf_internal.in_words(x.since, t), x.total),
                CASE WHEN x.total >= most THEN 'Raise pg_workflow.max_executors, or make the steps shorter; wf.workers shows them.'
                     ELSE 'One more is started within a moment. If not, see the server log: max_worker_processes may be too small.' END,
                since => x.since,
                detail => pg_catalog.jsonb_build_object('before', place.before, 'max_executors', most, 'executors', (
                    SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object('pid', p.pid, 'instance', r.id, 'step', p.step,
                                                                                      'since', p.since) ORDER BY p.since)
                    FROM wf_internal.processes() p LEFT JOIN wf_internal.runs r ON r.run_id = p.run_id AND r.owner = run.owner
                    WHERE p.kind = 'executor' AND p.role = run.owner)));
        ELSE
            RETURN NEXT wf_internal.because('ready', what || '; an executor takes it within a moment',
                detail => pg_catalog.jsonb_build_object('before', place.before));
        END IF;
    END $$;
COMMENT ON FUNCTION wf_internal.reason_ready(wf_internal.runs, timestamptz) IS 'what a run that is ready for a turn waits for';
