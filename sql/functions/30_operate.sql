SET LOCAL search_path = @extschema@, pg_temp;
-- Functions for those who operate the server.

CREATE PROCEDURE wf_run_pending()
    LANGUAGE c AS 'MODULE_PATHNAME', 'wf_run_pending';
COMMENT ON PROCEDURE wf_run_pending() IS
'Runs the current user''s due work in this session until nothing is due: for tests, for cron, for servers without background workers. Outside of a transaction block it commits as a worker does; inside one everything happens in the caller''s transaction.';

CREATE FUNCTION wf_internal.facts() RETURNS jsonb
    LANGUAGE c AS 'MODULE_PATHNAME', 'wf_facts';
COMMENT ON FUNCTION wf_internal.facts() IS 'what this process knows of library, settings and workers; behind wf_health and wf.workers';

CREATE FUNCTION wf_internal.announce() RETURNS void
    LANGUAGE c AS 'MODULE_PATHNAME', 'wf_announce';
COMMENT ON FUNCTION wf_internal.announce() IS 'tells the launcher, at commit, that this database has the extension';
REVOKE ALL ON FUNCTION wf_internal.announce() FROM PUBLIC;

CREATE FUNCTION wf_internal.is_home() RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
        SELECT NOT EXISTS (
            SELECT FROM wf_internal.home h, pg_catalog.pg_database d
            WHERE d.datname = pg_catalog.current_database()
              AND NOT EXISTS (SELECT FROM wf_internal.installation i
                              WHERE i.id = h.installation AND h.database = d.oid::text))
    $$;
COMMENT ON FUNCTION wf_internal.is_home() IS 'false in a copy (restored dump, database from a template) that wf_adopt() has not been called in';

CREATE FUNCTION wf_adopt() RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
    BEGIN
        DELETE FROM wf_internal.home;
        INSERT INTO wf_internal.home (installation, database)
            SELECT i.id, d.oid::text FROM wf_internal.installation i, pg_catalog.pg_database d
            WHERE d.datname = pg_catalog.current_database();
        INSERT INTO wf_internal.actions (at, by, owner, action)
            SELECT pg_catalog.clock_timestamp(), a.oid, a.oid, 'adopt' FROM pg_catalog.pg_authid a
            WHERE a.rolname = session_user;
        PERFORM wf_internal.announce();
    END $$;
COMMENT ON FUNCTION wf_adopt() IS
'Lets the workers of this server run the instances of a restored or copied database. Until then they stay as they are, so that a copy of production does not send production''s e-mails.';
REVOKE ALL ON FUNCTION wf_adopt() FROM PUBLIC;

CREATE FUNCTION wf_health() RETURNS TABLE (item text, ok boolean, detail text, hint text)
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
    DECLARE
        f jsonb := wf_internal.facts();
        installed text := (SELECT extversion FROM pg_catalog.pg_extension WHERE extname = 'pg_workflow');
        workers jsonb := f->'workers';
        standby boolean := pg_catalog.pg_is_in_recovery();
        ready bigint;
        due bigint;
        executors bigint := (SELECT pg_catalog.count(*) FROM pg_catalog.jsonb_array_elements(workers) w
                             WHERE w->>'kind' = 'executor');
    BEGIN
        item := 'library preloaded';
        ok := (f->>'preloaded')::boolean;
        detail := CASE WHEN ok THEN 'shared_preload_libraries contains pg_workflow'
                       ELSE 'the library was not loaded at server start: no background worker runs' END;
        hint := CASE WHEN NOT ok THEN 'Add pg_workflow to shared_preload_libraries and restart the server, or drive work by CALL wf_run_pending().' END;
        RETURN NEXT;

        item := 'versions';
        ok := installed = f->>'version';
        detail := pg_catalog.format('library %s, extension %s', f->>'version', installed);
        hint := CASE WHEN NOT ok THEN 'Run ALTER EXTENSION pg_workflow UPDATE; if that does not help, restart the server to load the new library.' END;
        RETURN NEXT;

        item := 'home';
        ok := wf_internal.is_home();
        detail := CASE WHEN ok THEN 'instances belong to this database'
                       ELSE 'this database is a copy: its instances are left alone' END;
        hint := CASE WHEN NOT ok THEN 'Call wf_adopt() if they are to run here.' END;
        RETURN NEXT;

        item := 'launcher';
        ok := (f->>'launcher')::boolean OR standby;
        detail := CASE WHEN standby THEN 'not running: this is a standby, its promotion starts it'
                       WHEN ok THEN 'running' ELSE 'not running' END;
        hint := CASE WHEN NOT ok THEN 'See the server log; the server may still be starting.' END;
        RETURN NEXT;

        item := 'scheduler';
        ok := standby OR EXISTS (SELECT FROM pg_catalog.jsonb_array_elements(workers) w WHERE w->>'kind' = 'scheduler');
        detail := CASE WHEN standby THEN 'not running: this is a standby'
                       WHEN ok THEN 'running' ELSE 'no scheduler runs for this database' END;
        hint := CASE WHEN NOT ok THEN 'Is max_worker_processes large enough? The server log says when no slot is free.' END;
        RETURN NEXT;

        SELECT pg_catalog.count(*) INTO ready FROM wf_internal.ready;
        SELECT pg_catalog.count(*) INTO due FROM wf_internal.timers WHERE due_at < pg_catalog.now() - interval '10 s';
        item := 'work';
        ok := standby OR due = 0 AND NOT EXISTS (
            SELECT FROM (SELECT DISTINCT r.owner FROM wf_internal.ready r) o
            WHERE NOT EXISTS (SELECT FROM pg_catalog.jsonb_array_elements(workers) w
                              WHERE w->>'kind' = 'executor' AND (w->>'role')::oid = o.owner));
        detail := pg_catalog.format('%s ready for a turn, %s timers overdue by more than 10 s, %s executors',
                                    ready, due, executors);
        hint := CASE WHEN ok THEN NULL
                     WHEN due > 0 THEN 'Timers are moved by the scheduler: see the lines above.'
                     WHEN NOT ok THEN 'A role with work has no executor: see the server log. max_worker_processes may be too small, or the owner''s role may not connect.' END;
        RETURN NEXT;
    END $$;
COMMENT ON FUNCTION wf_health() IS 'Is everything there that workflows need? One row a question, with what to do where the answer is no.';
