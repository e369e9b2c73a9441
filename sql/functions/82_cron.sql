SET LOCAL search_path = @extschema@, pg_temp;
-- Jobs as pg_cron has them: schedules of the workflow wf.cron_job. The extension pg_workflow_cron shows them under pg_cron's
-- names. What is here is in schema wf, since a job's owner needs no access to schema cron.

CREATE FUNCTION wf.cron_job(input jsonb) RETURNS text
    LANGUAGE plpgsql AS $$
    DECLARE
        result jsonb;
        rows   bigint;
    BEGIN
        -- The empty statement behind it makes SQL of a command that is one word, such as VACUUM.
        result := @extschema@.wf_step('command', (input OPERATOR(pg_catalog.->>) 'command') OPERATOR(pg_catalog.||) E'\n;',
                                      retry => '{"max_attempts": 1}', transactional => false);
        rows := CASE pg_catalog.jsonb_typeof(result) WHEN 'array' THEN pg_catalog.jsonb_array_length(result)
                                                     WHEN 'number' THEN result::pg_catalog.int8 END;
        RETURN CASE WHEN rows IS NULL THEN result OPERATOR(pg_catalog.#>>) '{}'
                    WHEN rows OPERATOR(pg_catalog.=) 1 THEN '1 row'
                    ELSE pg_catalog.format('%s rows', rows) END;
    END $$;
COMMENT ON FUNCTION wf.cron_job(jsonb) IS
'Workflow of one step: a job of pg_cron''s kind. Its command is run as a client would send it, in no transaction of another''s, and once: a command that fails, or is lost in a crash, is not tried again before its next time.';

CREATE FUNCTION wf.cron_error(schedule text) RETURNS text
    LANGUAGE c IMMUTABLE STRICT AS 'MODULE_PATHNAME', 'wf_cron_error';
COMMENT ON FUNCTION wf.cron_error(text) IS 'Why pg_cron would refuse a schedule; NULL if it would not';

CREATE FUNCTION wf.forget_run(run_id uuid) RETURNS boolean
    LANGUAGE c STRICT AS 'MODULE_PATHNAME', 'wf_forget_run';
COMMENT ON FUNCTION wf.forget_run(uuid) IS
'Removes one run that has ended, as wf_purge removes old ones. Needs: to be its owner, a member of that role, or an operator. Returns false if there is no such run, if it has not ended, or if somebody is at it. Errors: 25000 in a transaction that is not READ COMMITTED.';

-- As at a connection: what is set for the role comes before what is set for the database.
CREATE FUNCTION wf.default_search_path(role name) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    WITH own AS (
        SELECT r.rolname,
               (SELECT substr(c.setting, 13) FROM pg_db_role_setting s, unnest(s.setconfig) AS c(setting)
                WHERE starts_with(c.setting, 'search_path=') AND s.setrole IN (0, r.oid)
                  AND s.setdatabase IN (0, (SELECT d.oid FROM pg_database d WHERE d.datname = current_database()))
                ORDER BY s.setrole = 0, s.setdatabase = 0 LIMIT 1) AS path
        FROM pg_roles r WHERE r.rolname IN (role, session_user)
    )
    SELECT coalesce((SELECT o.path FROM own o WHERE o.rolname = role),
                    -- The server's, which a session with a path of its own does not see.
                    CASE WHEN (SELECT o.path FROM own o WHERE o.rolname = session_user) IS NULL THEN p.reset_val
                         ELSE p.boot_val END)
    FROM pg_settings p WHERE p.name = 'search_path' $$;
COMMENT ON FUNCTION wf.default_search_path(name) IS 'The search_path that a new session of a role has in this database';

CREATE FUNCTION wf.save_cron_job(
    jobid     bigint,
    jobname   text,
    schedule  text,
    command   text,
    username  name,
    active    boolean DEFAULT NULL,
    time_zone text    DEFAULT NULL
) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
    #variable_conflict use_variable
    DECLARE
        caller CONSTANT name := current_user;
        role   CONSTANT text := current_setting('role');
        error  CONSTANT text := wf.cron_error(schedule);
        name   CONSTANT text := coalesce('cron:' || jobname, 'cron#' || jobid);
        input  CONSTANT jsonb := jsonb_build_object('jobid', jobid, 'jobname', jobname, 'command', command);
        owner  regrole;
        known  boolean;
    BEGIN
        IF error IS NOT NULL THEN
            RAISE EXCEPTION USING ERRCODE = '22023', MESSAGE = 'invalid schedule: ' || schedule, DETAIL = error,
                HINT = 'Use cron format (e.g. 5 4 * * *), or interval format ''[1-59] seconds''';
        END IF;
        owner := quote_ident(username)::regrole;
        known := EXISTS (SELECT FROM wf.schedules s WHERE s.name = name AND s.owner = owner);
        IF username <> caller THEN
            PERFORM set_config('role', username, true);
        END IF;
        -- The job finds its names as in a session of its user's, whoever makes it. From here on every name is qualified, and
        -- there is no operator: they are looked up along a path of somebody who may not be the session's user.
        PERFORM set_config('search_path', wf.default_search_path(username), true);
        IF known THEN
            PERFORM @extschema@.wf_alter_schedule(name, schedule, 'wf.cron_job', input, time_zone => time_zone,
                                                  paused => NOT active, owner => owner);
        ELSE
            -- Of times that come while the job runs one waits for its end; what was missed is over.
            PERFORM @extschema@.wf_schedule(name, schedule, 'wf.cron_job', input, time_zone => coalesce(time_zone, 'GMT'),
                                            overlap => 'queue_one', catch_up => 'none', paused => NOT active);
        END IF;
        PERFORM pg_catalog.set_config('role', role, true);
    END $$;
COMMENT ON FUNCTION wf.save_cron_job(bigint, text, text, text, name, boolean, text) IS
'Makes or changes the schedule of a job of pg_cron''s kind, for its user. Its name is cron: and the job''s, or cron# and its number. active and time_zone: NULL leaves them as they are (new: active, GMT). Needs: to be that user, or to be allowed to become it by SET ROLE. Errors: 22023 invalid schedule.';

CREATE FUNCTION wf.drop_cron_job(jobid bigint, jobname text, username name) RETURNS boolean
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
    BEGIN
        RETURN @extschema@.wf_unschedule(coalesce('cron:' || jobname, 'cron#' || jobid), quote_ident(username)::regrole);
    END $$;
COMMENT ON FUNCTION wf.drop_cron_job(bigint, text, name) IS
'Removes the schedule of a job of pg_cron''s kind. Needs: to be its user or a member of that role. Returns whether there was one.';

CREATE FUNCTION wf_import_pg_cron() RETURNS TABLE (jobid bigint, jobname text, username text, taken boolean, detail text)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
    #variable_conflict use_variable
    DECLARE
        job  jsonb;
        zone CONSTANT text := current_setting('cron.timezone', true);
    BEGIN
        IF NOT EXISTS (SELECT FROM pg_extension e WHERE e.extname = 'pg_cron') THEN
            RAISE EXCEPTION USING ERRCODE = '42704', MESSAGE = 'pg_cron is not installed in this database',
                HINT = 'Its jobs are in the database that its setting cron.database_name names.';
        END IF;
        IF NOT (SELECT r.rolsuper FROM pg_roles r WHERE r.rolname = current_user) THEN
            RAISE EXCEPTION USING ERRCODE = '42501', MESSAGE = 'must be superuser to take over the jobs of pg_cron';
        END IF;
        -- As JSON, since older versions of pg_cron have fewer columns.
        FOR job IN SELECT to_jsonb(j) FROM (SELECT * FROM cron.job FOR UPDATE) AS j ORDER BY j.jobid LOOP
            jobid := job->>'jobid';
            jobname := job->>'jobname';
            username := job->>'username';
            taken := false;
            IF job->>'database' <> current_database() THEN
                detail := format('It runs in database "%s": schedule it there.', job->>'database');
            ELSIF EXISTS (SELECT FROM wf.schedules s
                          WHERE s.workflow = 'wf.cron_job' AND s.input->'jobid' = job->'jobid'
                            AND pg_get_userbyid(s.owner) = username) THEN
                detail := 'It has been taken over before.';
            ELSE
                BEGIN
                    PERFORM wf.save_cron_job(jobid, jobname, job->>'schedule', job->>'command', username::name,
                                             (job->>'active')::boolean, zone);
                    UPDATE cron.job AS j SET active = false WHERE j.jobid = wf_import_pg_cron.jobid;
                    taken := true;
                    detail := CASE WHEN (job->>'active')::boolean THEN 'It is not active in pg_cron any more.'
                                   ELSE 'It is not active, as before.' END;
                EXCEPTION WHEN OTHERS THEN
                    detail := SQLERRM;
                END;
            END IF;
            RETURN NEXT;
        END LOOP;
    END $$;
COMMENT ON FUNCTION wf_import_pg_cron() IS
'Takes over the jobs of pg_cron in this database: each becomes a schedule of its user''s that keeps its number, and is made inactive in pg_cron, in the caller''s transaction. Returns what has become of each; one that cannot be taken over stays as it is, for the reason in detail. Called again it takes what has been added since. The extension pg_workflow_cron shows the jobs under pg_cron''s names, once pg_cron is dropped. Needs: superuser. Errors: 42704 no pg_cron here, 42501 not superuser.';
