SET LOCAL search_path = @extschema@, pg_temp;
-- Why an instance does not move: the calls that it waits for. Continues 43_explain.sql, whose path it keeps.
SET LOCAL search_path = pg_catalog, pg_temp;

-- What something in a queue waits for: one thing, the most decisive. subject: what it is, in words.
CREATE FUNCTION wf_internal.reason_queued(of_queue integer, of_key text, is_task boolean, subject text, step text, since timestamptz, t timestamptz)
    RETURNS jsonb
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
    DECLARE
        most constant integer := 100000;
        q wf_internal.queues;
        now_running bigint;
        of_this_key bigint;
        now_waiting bigint;
        tokens double precision;
        reason text := 'queued';
        words text := 'others come first';
        due timestamptz;
        hint text;
        holders text;
    BEGIN
        SELECT * INTO q FROM wf_internal.queues x WHERE x.queue_id = of_queue;
        SELECT pg_catalog.count(*), pg_catalog.count(*) FILTER (WHERE w.key = of_key) INTO now_running, of_this_key
        FROM (SELECT p.key FROM wf_internal.task_queue p WHERE p.queue_id = of_queue AND p.running LIMIT most) AS w;
        SELECT pg_catalog.count(*) INTO now_waiting
        FROM (SELECT FROM wf_internal.task_queue p WHERE p.queue_id = of_queue AND NOT p.running LIMIT most) AS w;
        tokens := least(q.rate, coalesce(q.tokens, 0) + q.rate * greatest(0, 1e6 * extract(epoch FROM t - q.filled_at))::double precision / q.per);
        IF q.paused THEN
            reason := 'queue_paused';
            words := 'which is paused';
            hint := pg_catalog.format('SELECT wf_queue(%L, paused => false);', q.name);
        ELSIF now_running >= q.max_running OR (of_key <> '' AND of_this_key >= q.max_running_per_key) THEN
            SELECT pg_catalog.string_agg(h.words, ', ') INTO holders
            FROM (SELECT pg_catalog.format('"%s"', r.id) || coalesce(' step "' || s.name || '"', '') AS words
                  FROM wf_internal.task_queue p
                  JOIN wf_internal.runs r USING (run_id)
                  LEFT JOIN wf_internal.steps s ON s.run_id = p.run_id AND s.n = p.n
                  WHERE p.queue_id = of_queue AND p.running AND (now_running >= q.max_running OR p.key = of_key)
                  LIMIT 3) AS h;
            IF now_running >= q.max_running THEN
                reason := 'queue_full';
                words := pg_catalog.format('which is full: %s of %s run, held by %s', now_running, q.max_running, holders);
                hint := pg_catalog.format('SELECT wf_queue(%L, max_running => ...); allows more at a time.', q.name);
            ELSE
                reason := 'queue_key_full';
                words := pg_catalog.format('in which %s of %s of key "%s" run, held by %s', of_this_key, q.max_running_per_key, of_key, holders);
                hint := pg_catalog.format('SELECT wf_queue(%L, max_running_per_key => ...); allows more of a key at a time.', q.name);
            END IF;
        ELSIF tokens < 1 THEN
            reason := 'queue_rate';
            due := t + (1 - tokens) * q.per / q.rate * interval '1 microsecond';
            words := pg_catalog.format('whose rate of %s in %s is used up; the next begins %s', q.rate,
                                       wf_internal.in_words(t, t + q.per * interval '1 microsecond'), wf_internal.due_in_words(due, t));
            hint := pg_catalog.format('SELECT wf_queue(%L, rate => ...); allows more.', q.name);
        ELSIF is_task THEN
            reason := 'task_unclaimed';
            words := 'where no worker has claimed it yet';
            hint := pg_catalog.format('Is there a worker that polls queue %s? wf.tasks shows who has claimed what.', q.name);
        END IF;
        RETURN wf_internal.because(reason, pg_catalog.format('%s waits since %s in queue "%s", %s (%s waiting, %s running)', subject,
                wf_internal.in_words(since, t), q.name, words, now_waiting || CASE WHEN now_waiting = most THEN ' or more' ELSE '' END, now_running),
            hint, step, since, due,
            detail => pg_catalog.jsonb_build_object('queue', q.name, 'waiting', now_waiting, 'running', now_running, 'max_running', q.max_running));
    END $$;
COMMENT ON FUNCTION wf_internal.reason_queued(integer, text, boolean, text, text, timestamptz, timestamptz) IS 'what a place in a queue waits for';

-- The place of a run (n = 0) or of a step in a queue.
CREATE FUNCTION wf_internal.reason_in_line(of_run uuid, of_n integer, of_item integer, subject text, step text, t timestamptz) RETURNS SETOF jsonb
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
        SELECT wf_internal.reason_queued(p.queue_id, p.key, false, subject, reason_in_line.step, p.queued_at, t)
        FROM wf_internal.task_queue p
        WHERE p.inside AND p.run_id = of_run AND p.n = of_n AND p.item = of_item AND NOT p.running
    $$;
COMMENT ON FUNCTION wf_internal.reason_in_line(uuid, integer, integer, text, text, timestamptz) IS 'what a run or step in a queue waits for';

CREATE FUNCTION wf_internal.reason_retry(subject text, step text, attempt integer, error jsonb, due timestamptz, t timestamptz) RETURNS jsonb
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
        SELECT wf_internal.because(CASE WHEN due > t THEN 'retry' ELSE 'overdue' END,
            pg_catalog.format('%s is tried again %s: attempt %s%s has failed with %s (SQLSTATE %s)', subject,
                CASE WHEN due > t THEN wf_internal.due_in_words(due, t) ELSE 'now, being due since ' || wf_internal.in_words(due, t) END, attempt,
                coalesce(' of ' || nullif(error->>'max_attempts', '0'), ''), error->>'message', error->>'sqlstate'),
            'When the cause is gone nothing is to be done. wf_complete_step answers the call by hand.',
            step, until => due, detail => error || pg_catalog.jsonb_build_object('attempt', attempt))
    $$;
COMMENT ON FUNCTION wf_internal.reason_retry(text, text, integer, jsonb, timestamptz, timestamptz) IS 'an attempt that has failed, and when the next is made';

-- A step that is run beside its instance, or an item of a map.
CREATE FUNCTION wf_internal.reason_branch(of_run uuid, of_n integer, of_item integer, subject text, step text, t timestamptz) RETURNS SETOF jsonb
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
    DECLARE
        b wf_internal.branches;
    BEGIN
        SELECT * INTO b FROM wf_internal.branches x WHERE x.run_id = of_run AND x.n = of_n AND x.item = of_item;
        IF b.status = 'retrying' AND b.due_at > t THEN
            RETURN NEXT wf_internal.reason_retry(subject, step, b.attempt, b.error, b.due_at, t);
        ELSE
            RETURN QUERY SELECT wf_internal.reason_in_line(of_run, of_n, of_item, subject, step, t);
        END IF;
    END $$;
COMMENT ON FUNCTION wf_internal.reason_branch(uuid, integer, integer, text, text, timestamptz) IS 'what a step beside its run waits for';

CREATE FUNCTION wf_internal.reason_task(s wf_internal.steps, t timestamptz) RETURNS SETOF jsonb
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
    DECLARE
        subject constant text := pg_catalog.format('task "%s"', s.name);
        k wf_internal.tasks;
        heard timestamptz;
    BEGIN
        SELECT * INTO k FROM wf_internal.tasks x WHERE x.run_id = s.run_id AND x.n = s.n;
        IF NOT FOUND THEN
            RETURN QUERY SELECT wf_internal.because('task_joined',
                pg_catalog.format('%s waits for the task of instance "%s", which has the same key for duplicates', subject, r.id), step => s.name)
            FROM wf_internal.joined j
            LEFT JOIN wf_internal.dedup d ON d.queue_id = j.queue_id AND NOT d.inside AND d.key = j.key
            LEFT JOIN wf_internal.runs r ON r.run_id = d.run_id
            WHERE j.run_id = s.run_id AND j.n = s.n;
        ELSIF k.status = 'waiting' THEN
            RETURN NEXT wf_internal.reason_queued(k.queue_id, k.key, true, subject, s.name, k.queued_at, t);
        ELSIF k.status = 'retrying' THEN
            RETURN NEXT wf_internal.reason_retry(subject, s.name, k.attempt, k.error, nullif(k.queued_at, 'infinity'), t);
        ELSE
            heard := k.lease_until - k.lease_time * interval '1 microsecond';
            RETURN NEXT wf_internal.because(CASE WHEN k.lease_until < t THEN 'task_lost' ELSE 'task_running' END,
                pg_catalog.format('%s is claimed by worker %s (role %s) since %s, last heard of %s ago, attempt %s; its lease ends %s', subject,
                    coalesce('"' || k.worker || '"', 'without a name'), pg_catalog.pg_get_userbyid(k.worker_role),
                    wf_internal.in_words(k.started_at, t), wf_internal.in_words(heard, t), k.attempt, wf_internal.due_in_words(k.lease_until, t)),
                'If the worker is gone, the task goes to another when its lease has ended.',
                s.name, k.started_at, k.lease_until,
                detail => pg_catalog.jsonb_build_object('worker', k.worker, 'heard', heard, 'heartbeat', k.details, 'attempt', k.attempt));
        END IF;
    END $$;
COMMENT ON FUNCTION wf_internal.reason_task(wf_internal.steps, timestamptz) IS 'what a task waits for';

CREATE FUNCTION wf_internal.reason_signal(run wf_internal.runs, s wf_internal.steps, t timestamptz) RETURNS SETOF jsonb
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
        SELECT wf_internal.because('signal',
            pg_catalog.format('waits for signal "%s" since %s%s%s%s', s.name, wf_internal.in_words(s.started_at, t),
                ' (' || w.prompt || ')', '; gives up ' || wf_internal.due_in_words(s.due_at, t),
                '; what has come and is not taken has other names: ' || o.names),
            pg_catalog.format('SELECT wf_signal(%L, %L, ''...''); as role %s or a member of it.', run.id, s.name,
                              pg_catalog.pg_get_userbyid(run.owner)),
            s.name, s.started_at, s.due_at,
            detail => pg_catalog.jsonb_build_object('prompt', w.prompt, 'schema', w.schema, 'not_taken', o.list,
                                                    'senders', pg_catalog.pg_get_userbyid(run.owner)))
        FROM (SELECT) AS one
        LEFT JOIN wf_internal.waits w ON w.run_id = s.run_id AND w.n = s.n
        LEFT JOIN LATERAL (
            SELECT pg_catalog.string_agg(pg_catalog.format('"%s"', g.name), ', ') AS names, pg_catalog.jsonb_agg(g.name) AS list
            FROM (SELECT DISTINCT x.name FROM wf_internal.signals x
                  WHERE x.run_id = s.run_id AND x.consumed_by IS NULL AND x.name <> s.name LIMIT 5) AS g) AS o ON true
    $$;
COMMENT ON FUNCTION wf_internal.reason_signal(wf_internal.runs, wf_internal.steps, timestamptz) IS 'the signal that a run waits for';

-- Children that a call waits for, and what they wait for themselves.
CREATE FUNCTION wf_internal.reasons_children(s wf_internal.steps, level integer, t timestamptz) RETURNS SETOF jsonb
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
    DECLARE
        deepest constant integer := 10;
        c record;
    BEGIN
        FOR c IN
            SELECT r.run_id, r.id, r.created_at, d.workflow FROM wf_internal.runs r JOIN wf_internal.definitions d USING (def_id)
            WHERE r.parent_run_id = s.run_id AND r.parent_n = s.n AND r.finished_at IS NULL
            ORDER BY r.parent_item NULLS FIRST LIMIT 3
        LOOP
            RETURN NEXT wf_internal.because('child', pg_catalog.format('waits for child instance "%s" of workflow "%s" since %s', c.id, c.workflow,
                                                                       wf_internal.in_words(c.created_at, t)),
                                            step => s.name, since => c.created_at, detail => pg_catalog.jsonb_build_object('child', c.id));
            IF level < deepest THEN
                RETURN QUERY SELECT wf_internal.reasons(c.run_id, level + 1);
            END IF;
        END LOOP;
    END $$;
COMMENT ON FUNCTION wf_internal.reasons_children(wf_internal.steps, integer, timestamptz) IS 'the children that a call waits for';

CREATE FUNCTION wf_internal.reasons_map(s wf_internal.steps, level integer, t timestamptz) RETURNS SETOF jsonb
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
    DECLARE
        total constant integer := s.request->>'items';
        begun constant integer := coalesce((s.result->>'started')::integer, 0);
        done constant integer := coalesce((s.result->>'done')::integer, 0);
        failed constant integer := coalesce((s.result->>'failed')::integer, 0);
        b integer;
    BEGIN
        RETURN NEXT wf_internal.because('map', pg_catalog.format('map "%s": %s of %s items are done, %s are begun, %s are to come%s', s.name,
                done, total, begun - done, total - begun, CASE WHEN failed > 0 THEN pg_catalog.format('; %s have failed', failed) ELSE '' END),
            step => s.name, since => s.started_at,
            detail => pg_catalog.jsonb_build_object('items', total, 'done', done, 'failed', failed, 'begun', begun,
                                                    'max_parallel', s.request->'max_parallel'));
        IF s.request ? 'workflow' THEN
            RETURN QUERY SELECT wf_internal.reasons_children(s, level, t);
            RETURN;
        END IF;
        FOR b IN
            SELECT x.item FROM wf_internal.branches x WHERE x.run_id = s.run_id AND x.n = s.n AND x.item <= begun AND x.finished_at IS NULL
            ORDER BY x.run_id, x.n, x.item LIMIT 3
        LOOP
            RETURN QUERY SELECT wf_internal.reason_branch(s.run_id, s.n, b, pg_catalog.format('item %s of map "%s"', b, s.name), s.name, t);
        END LOOP;
    END $$;
COMMENT ON FUNCTION wf_internal.reasons_map(wf_internal.steps, integer, timestamptz) IS 'how far a map has come, and what its items wait for';

CREATE FUNCTION wf_internal.reasons_call(run wf_internal.runs, s wf_internal.steps, level integer, t timestamptz) RETURNS SETOF jsonb
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
    DECLARE
        handle wf_internal.steps;
        handles integer[];
    BEGIN
        IF s.status = 'retrying' THEN
            RETURN NEXT wf_internal.reason_retry(pg_catalog.format('%s "%s"', s.kind, s.name), s.name, s.attempt, s.error, s.due_at, t);
        ELSIF s.kind = 'sleep' THEN
            RETURN NEXT wf_internal.because(CASE WHEN s.due_at > t THEN 'sleep' ELSE 'overdue' END,
                pg_catalog.format('sleeps since %s; timer due %s', wf_internal.in_words(s.started_at, t), wf_internal.due_in_words(s.due_at, t)),
                CASE WHEN s.due_at <= t THEN 'The scheduler moves timers: see wf_health().' END, s.name, s.started_at, s.due_at);
        ELSIF s.kind = 'signal' THEN
            RETURN QUERY SELECT wf_internal.reason_signal(run, s, t);
        ELSIF s.kind = 'task' THEN
            RETURN QUERY SELECT wf_internal.reason_task(s, t);
        ELSIF s.kind = 'child' THEN
            RETURN QUERY SELECT wf_internal.reasons_children(s, level, t);
        ELSIF s.kind = 'map' THEN
            RETURN QUERY SELECT wf_internal.reasons_map(s, level, t);
        ELSIF s.kind = 'await' THEN
            handles := ARRAY(SELECT h::integer FROM pg_catalog.jsonb_array_elements_text(s.request->'handles') AS h);
            RETURN NEXT (
                SELECT wf_internal.because('await', pg_catalog.format('waits for %s of %s that it has begun, of which %s are done%s',
                        s.request->>'first', pg_catalog.cardinality(handles), pg_catalog.count(x.finished_at),
                        '; gives up ' || wf_internal.due_in_words(s.due_at, t)),
                    step => s.name, since => s.started_at, until => s.due_at)
                FROM wf_internal.steps x WHERE x.run_id = s.run_id AND x.n = ANY (handles));
            FOR handle IN
                SELECT x.* FROM wf_internal.steps x WHERE x.run_id = s.run_id AND x.n = ANY (handles) AND x.finished_at IS NULL ORDER BY x.n LIMIT 5
            LOOP
                RETURN QUERY SELECT wf_internal.reasons_call(run, handle, level, t);
            END LOOP;
        ELSIF s.kind = 'step' THEN
            RETURN QUERY SELECT wf_internal.reason_branch(s.run_id, s.n, 1, pg_catalog.format('step "%s"', s.name), s.name, t);
        END IF;
    END $$;
COMMENT ON FUNCTION wf_internal.reasons_call(wf_internal.runs, wf_internal.steps, integer, timestamptz) IS 'what an open call waits for';

-- --- the whole ---------------------------------------------------------------------------------------------------------

-- level: how many parents have led here.
CREATE FUNCTION wf_internal.reasons_of(run wf_internal.runs, level integer) RETURNS SETOF jsonb
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
    DECLARE
        t constant timestamptz := pg_catalog.clock_timestamp();
        workflow constant text := (SELECT d.workflow FROM wf_internal.definitions d WHERE d.def_id = run.def_id);
        s wf_internal.steps;
        at_it boolean;
        found_any boolean := false;
    BEGIN
        IF run.finished_at IS NOT NULL THEN
            RETURN NEXT wf_internal.reason_ended(run, t);
            RETURN;
        END IF;
        RETURN QUERY SELECT wf_internal.reasons_running(run, t);
        at_it := FOUND;
        found_any := FOUND;
        IF NOT at_it AND level = 0 THEN
            RETURN QUERY SELECT wf_internal.reason_server();
            found_any := found_any OR FOUND;
        END IF;
        RETURN QUERY SELECT wf_internal.reasons_paused(run, workflow, t);
        found_any := found_any OR FOUND;
        RETURN QUERY SELECT wf_internal.because('cancelling',
                pg_catalog.format('%s has asked for its cancellation %s ago; it is told at its next turn',
                                  pg_catalog.pg_get_userbyid(c.asked_by), wf_internal.in_words(c.asked_at, t)),
                since => c.asked_at)
            FROM wf_internal.controls c WHERE c.run_id = run.run_id ORDER BY c.seq LIMIT 1;
        found_any := found_any OR FOUND;
        IF run.status = 'compensating' THEN
            RETURN NEXT wf_internal.because('compensating', pg_catalog.format('undoes what it has done, since it has failed: %s (SQLSTATE %s)',
                    run.error->>'message', run.error->>'sqlstate'), detail => run.error);
            found_any := true;
        ELSIF run.status = 'pending' AND run.start_at > t THEN
            RETURN NEXT wf_internal.because('start_at', 'starts ' || wf_internal.due_in_words(run.start_at, t), until => run.start_at);
            found_any := true;
        END IF;
        RETURN QUERY SELECT wf_internal.reason_in_line(run.run_id, 0, 0, 'it', NULL, t);
        found_any := found_any OR FOUND;
        IF NOT at_it THEN
            RETURN QUERY SELECT wf_internal.reason_ready(run, t);
            found_any := found_any OR FOUND;
        END IF;
        FOR s IN
            WITH open AS (
                SELECT x.* FROM wf_internal.steps x
                WHERE x.run_id = run.run_id AND x.status IN ('waiting', 'retrying') AND x.kind <> 'rollback'
                  AND NOT (at_it AND x.status = 'retrying' AND x.due_at <= t))
            -- At its end a function waits for what it has begun.
            SELECT o.* FROM open o WHERE NOT o.begun OR NOT EXISTS (SELECT FROM open p WHERE NOT p.begun) ORDER BY o.n LIMIT 10
        LOOP
            RETURN QUERY SELECT wf_internal.reasons_call(run, s, level, t);
            found_any := found_any OR FOUND;
        END LOOP;
        IF NOT found_any THEN
            RETURN NEXT wf_internal.because('unknown', 'is between two turns, as far as can be seen from here', 'Ask again.');
        END IF;
    END $$;
COMMENT ON FUNCTION wf_internal.reasons_of(wf_internal.runs, integer) IS 'why a run does not move, most decisive first';

CREATE FUNCTION wf_internal.reasons(of_run uuid, level integer) RETURNS SETOF jsonb
    LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
    AS $$
    BEGIN
        -- What a child says of itself stays its own.
        RETURN QUERY SELECT pg_catalog.jsonb_build_object('instance', r.id) || x.reason
            FROM wf_internal.runs r, LATERAL wf_internal.reasons_of(r, level) AS x(reason) WHERE r.run_id = of_run;
    END $$;
COMMENT ON FUNCTION wf_internal.reasons(uuid, integer) IS 'as reasons_of, with the id that each is about';

REVOKE ALL ON FUNCTION wf_internal.because, wf_internal.failed_call, wf_internal.reason_ended, wf_internal.reason_blocked,
    wf_internal.reasons_running, wf_internal.reason_server, wf_internal.reasons_paused, wf_internal.reason_held, wf_internal.reason_ready,
    wf_internal.reason_queued, wf_internal.reason_in_line, wf_internal.reason_retry, wf_internal.reason_branch, wf_internal.reason_task,
    wf_internal.reason_signal, wf_internal.reasons_children, wf_internal.reasons_map, wf_internal.reasons_call, wf_internal.reasons_of,
    wf_internal.reasons FROM PUBLIC;

CREATE FUNCTION wf_internal.explain(id text) RETURNS jsonb
    LANGUAGE c AS 'MODULE_PATHNAME', 'wf_explain';
COMMENT ON FUNCTION wf_internal.explain(text) IS 'behind wf_explain: its rows as an array of objects';

-- Parsed here and now: its callers have no USAGE on wf_internal. pg_stat_activity shows them what it shows them elsewhere.
CREATE FUNCTION @extschema@.wf_explain(id text)
    RETURNS TABLE (reason text, explanation text, hint text, instance text, step text, since timestamptz, until timestamptz,
                   pid integer, blocked_by integer[], detail jsonb)
    LANGUAGE sql
BEGIN ATOMIC
    SELECT e.reason, e.explanation || coalesce('; ' || b.words, ''), e.hint, e.instance, e.step, e.since, e.until, e.pid, e.blocked_by,
           nullif(coalesce(nullif(e.detail, 'null'), '{}')
                  || CASE WHEN b.list IS NOT NULL THEN pg_catalog.jsonb_build_object('blockers', b.list) ELSE '{}' END
                  || CASE WHEN a.wait_event IS NOT NULL
                          THEN pg_catalog.jsonb_build_object('wait_event_type', a.wait_event_type, 'wait_event', a.wait_event) ELSE '{}' END, '{}')
    FROM (SELECT x.*, pg_catalog.row_number() OVER () AS nr
          FROM pg_catalog.jsonb_to_recordset(wf_internal.explain($1))
               AS x(reason text, explanation text, hint text, instance text, step text, since timestamptz, until timestamptz,
                    pid integer, blocked_by integer[], detail jsonb)) AS e
    LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = e.pid
    LEFT JOIN LATERAL (
        SELECT pg_catalog.string_agg(
                   pg_catalog.format('pid %s is role %s', s.pid, s.usename) || coalesce(', ' || s.state, '')
                   || coalesce(' since ' || wf_internal.in_words(s.state_change, pg_catalog.clock_timestamp()), '')
                   || CASE WHEN s.state IS NOT NULL THEN coalesce(': ' || pg_catalog.left(nullif(s.query, ''), 200), '') ELSE '' END, '; ') AS words,
               pg_catalog.jsonb_agg(pg_catalog.jsonb_build_object('pid', s.pid, 'role', s.usename, 'application', s.application_name,
                   'state', s.state, 'since', s.state_change, 'query', CASE WHEN s.state IS NOT NULL THEN s.query END)) AS list
        FROM pg_catalog.pg_stat_activity s WHERE s.pid = ANY (e.blocked_by)) AS b ON true
    ORDER BY e.nr;
END;
COMMENT ON FUNCTION @extschema@.wf_explain(text) IS
'Why does the open or last run of an id not move? One row a reason, the most decisive first: a code, a sentence, and what to do. instance: the id that it is about (a child that is waited for, and what that waits for, follow its parent). since, until: of what is waited for. pid: the process that is at it; blocked_by: those that it waits for. What pg_stat_activity does not show the caller is left out. Errors: 42704 unknown id, or not yours to see.';

SET LOCAL search_path = @extschema@, pg_temp;
