-- pg_cron's functions and tables, on schedules of pg_workflow. A job is a schedule of the workflow wf.cron_job; there is no
-- other place in which it is. Functions run as their caller, and can do no more than the caller could with wf_schedule.
-- Texts and SQLSTATEs of errors are pg_cron's: what calls it may look at them.
\echo Use "CREATE EXTENSION pg_workflow_cron" to load this file. \quit

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_extension WHERE extname = 'pg_cron') THEN
        RAISE EXCEPTION USING ERRCODE = '42710', MESSAGE = 'pg_cron is installed in this database',
            DETAIL = 'Both have their functions in schema cron.',
            HINT = 'Take over its jobs by SELECT * FROM wf_import_pg_cron(), then DROP EXTENSION pg_cron.';
    END IF;
END $$;

CREATE SCHEMA cron;
COMMENT ON SCHEMA cron IS 'the interface of pg_cron';

CREATE SEQUENCE cron.jobid_seq;
SELECT pg_extension_config_dump('cron.jobid_seq', '');
-- Jobs that were taken over, or that an earlier installation has left, keep their numbers.
SELECT setval('cron.jobid_seq', max((input->>'jobid')::bigint))
FROM wf.schedules WHERE workflow = 'wf.cron_job' AND input->>'jobid' ~ '^[0-9]{1,18}$';
GRANT SELECT, USAGE ON SEQUENCE cron.jobid_seq TO PUBLIC;

-- A user's jobs are those of the user alone; a superuser's are all.
CREATE FUNCTION cron.sees(username name) RETURNS boolean
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
    RETURN username = current_user
        OR (SELECT r.rolsuper OR r.rolbypassrls FROM pg_catalog.pg_roles r WHERE r.rolname = current_user);
COMMENT ON FUNCTION cron.sees(name) IS 'Whether the current user sees the jobs of a role';

CREATE VIEW cron.job WITH (security_barrier) AS
    SELECT (s.input->>'jobid')::bigint AS jobid, s.schedule, s.input->>'command' AS command,
           'localhost'::text AS nodename, current_setting('port')::integer AS nodeport,
           current_database()::text AS database, pg_get_userbyid(s.owner)::text AS username,
           s.status <> 'paused' AS active, s.input->>'jobname' AS jobname
    FROM wf.schedules s
    -- Somebody may have made a schedule of this workflow by hand.
    WHERE s.workflow = 'wf.cron_job' AND s.input->>'jobid' ~ '^[0-9]{1,18}$' AND cron.sees(pg_get_userbyid(s.owner));
COMMENT ON VIEW cron.job IS 'jobs, as pg_cron shows them; whoever has the privileges may write here. nodename and nodeport mean nothing: there is no connection.';
ALTER VIEW cron.job ALTER jobid SET DEFAULT nextval('cron.jobid_seq');
ALTER VIEW cron.job ALTER nodename SET DEFAULT 'localhost';
ALTER VIEW cron.job ALTER nodeport SET DEFAULT current_setting('port')::integer;
ALTER VIEW cron.job ALTER database SET DEFAULT current_database();
ALTER VIEW cron.job ALTER username SET DEFAULT current_user;
ALTER VIEW cron.job ALTER active SET DEFAULT true;
GRANT SELECT ON cron.job TO PUBLIC;

-- A number for a run, in the order of time: milliseconds since 2020, and 22 of its random bits.
CREATE FUNCTION cron.runid(run_id uuid) RETURNS bigint
    LANGUAGE sql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp
    RETURN ((('x' || substr(run_id::text, 1, 8) || substr(run_id::text, 10, 4))::bit(48)::bigint - 1577836800000) << 22)
         | (('x' || substr(run_id::text, 16, 3))::bit(12)::bigint << 10)
         | (('x' || substr(run_id::text, 20, 3))::bit(12)::bigint & 1023);
COMMENT ON FUNCTION cron.runid(uuid) IS 'The number under which cron.job_run_details shows a run';

CREATE VIEW cron.job_run_details WITH (security_barrier) AS
    SELECT (w.input->>'jobid')::bigint AS jobid, cron.runid(w.run_id) AS runid, p.pid AS job_pid,
           current_database()::text AS database, pg_get_userbyid(w.owner)::text AS username, w.input->>'command' AS command,
           CASE WHEN w.status = 'completed' THEN 'succeeded'
                WHEN w.finished_at IS NOT NULL THEN 'failed'
                WHEN w.started_at IS NULL THEN 'starting'
                ELSE 'running' END AS status,
           coalesce(w.error, w.result #>> '{}') AS return_message, w.started_at AS start_time, w.finished_at AS end_time
    FROM wf.workflows w
    LEFT JOIN (SELECT id, min(pid) AS pid FROM wf.workers WHERE id IS NOT NULL GROUP BY id) AS p
           ON p.id = w.id AND w.finished_at IS NULL
    WHERE w.workflow = 'wf.cron_job' AND w.input->>'jobid' ~ '^[0-9]{1,18}$' AND cron.sees(pg_get_userbyid(w.owner));
COMMENT ON VIEW cron.job_run_details IS 'runs of jobs, as pg_cron shows them; job_pid while one runs. Rows of runs that have ended may be deleted.';
GRANT SELECT, DELETE ON cron.job_run_details TO PUBLIC;

CREATE FUNCTION cron.run_details_write() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
    DECLARE
        -- Run ids of this millisecond.
        millis CONSTANT bigint := (OLD.runid >> 22) + 1577836800000;
        least  CONSTANT uuid := rpad(lpad(to_hex(millis), 12, '0'), 32, '0');
        most   CONSTANT uuid := rpad(lpad(to_hex(millis), 12, '0'), 32, 'f');
        run    uuid;
    BEGIN
        SELECT w.run_id INTO run FROM wf.workflows w
        WHERE w.run_id BETWEEN least AND most AND cron.runid(w.run_id) = OLD.runid AND w.workflow = 'wf.cron_job';
        RETURN CASE WHEN wf.forget_run(run) THEN OLD END;
    END $$;
COMMENT ON FUNCTION cron.run_details_write() IS 'Removes the run of a row that is deleted from cron.job_run_details';
CREATE TRIGGER write INSTEAD OF DELETE ON cron.job_run_details FOR EACH ROW EXECUTE FUNCTION cron.run_details_write();

-- What pg_cron says of NULLs.
CREATE FUNCTION cron.need(value anyelement, name text) RETURNS void
    LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    BEGIN
        IF value IS NULL THEN
            RAISE EXCEPTION USING ERRCODE = 'XX000', MESSAGE = format('%s can not be NULL', name);
        END IF;
    END $$;
COMMENT ON FUNCTION cron.need(anyelement, text) IS 'Raises an error for an argument that is NULL';

CREATE FUNCTION cron.check_place(database text, username text, refusal text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
    #variable_conflict use_variable
    BEGIN
        IF username IS NOT NULL AND NOT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = username) THEN
            RAISE EXCEPTION USING ERRCODE = 'XX000', MESSAGE = format('role "%s" does not exist', username);
        END IF;
        IF username <> current_user AND NOT (SELECT r.rolsuper FROM pg_roles r WHERE r.rolname = current_user) THEN
            RAISE EXCEPTION USING ERRCODE = 'XX000', MESSAGE = refusal;
        END IF;
        IF database IS NOT NULL AND NOT EXISTS (SELECT FROM pg_database d WHERE d.datname = database) THEN
            RAISE EXCEPTION USING ERRCODE = '3D000', MESSAGE = format('database "%s" does not exist', database);
        END IF;
        IF database <> current_database() THEN
            RAISE EXCEPTION USING ERRCODE = '0A000',
                MESSAGE = format('jobs of database "%s" cannot be kept in database "%s"', database, current_database()),
                HINT = format('Connect to "%s", run CREATE EXTENSION pg_workflow_cron CASCADE, and schedule the job there.', database);
        END IF;
    END $$;
COMMENT ON FUNCTION cron.check_place(text, text, text) IS
'Raises the errors of a job for a database or a role that it cannot be for; refusal is what others than superusers hear of other roles';

CREATE FUNCTION cron.add_job(
    job_id bigint, job_name text, schedule text, command text, username text, active boolean
) RETURNS bigint
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
    BEGIN
        -- No number for what is refused.
        IF wf.cron_error(schedule) IS NULL THEN
            job_id := coalesce(job_id, nextval('cron.jobid_seq'));
        END IF;
        PERFORM wf.save_cron_job(job_id, job_name, schedule, command, username::name, active,
                                 nullif(current_setting('cron.timezone', true), ''));
        RETURN job_id;
    END $$;
COMMENT ON FUNCTION cron.add_job(bigint, text, text, text, text, boolean) IS
'Makes a job, in the time zone of the setting cron.timezone; returns its number, which is the next one if none is given';

CREATE FUNCTION cron.change_job(old cron.job, new cron.job) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
    DECLARE
        zone text;
    BEGIN
        IF (new.jobid, new.jobname, new.username) IS DISTINCT FROM (old.jobid, old.jobname, old.username) THEN
            SELECT s.time_zone INTO zone FROM wf.schedules s
            WHERE s.workflow = 'wf.cron_job' AND s.input->>'jobid' = old.jobid::text AND pg_get_userbyid(s.owner) = old.username;
            PERFORM wf.drop_cron_job(old.jobid, old.jobname, old.username::name);
            PERFORM cron.check_unique(new);
        END IF;
        PERFORM wf.save_cron_job(new.jobid, new.jobname, new.schedule, new.command, new.username::name, new.active, zone);
    END $$;
COMMENT ON FUNCTION cron.change_job(cron.job, cron.job) IS 'Makes another job of one';

CREATE FUNCTION cron.check_unique(job cron.job) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
    BEGIN
        IF EXISTS (SELECT FROM cron.job j WHERE j.jobid = job.jobid) THEN
            RAISE EXCEPTION USING ERRCODE = '23505', MESSAGE = 'duplicate key value violates unique constraint "job_pkey"',
                DETAIL = format('Key (jobid)=(%s) already exists.', job.jobid);
        END IF;
        IF EXISTS (SELECT FROM cron.job j WHERE j.jobname = job.jobname AND j.username = job.username) THEN
            RAISE EXCEPTION USING ERRCODE = '23505',
                MESSAGE = 'duplicate key value violates unique constraint "jobname_username_uniq"',
                DETAIL = format('Key (jobname, username)=(%s, %s) already exists.', job.jobname, job.username);
        END IF;
    END $$;
COMMENT ON FUNCTION cron.check_unique(cron.job) IS 'Raises the errors that the table of pg_cron raises for a job whose number or name is taken';

CREATE FUNCTION cron.job_write() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
    DECLARE
        missing text;
    BEGIN
        IF TG_OP = 'DELETE' THEN
            RETURN CASE WHEN wf.drop_cron_job(OLD.jobid, OLD.jobname, OLD.username::name) THEN OLD END;
        END IF;
        SELECT c.key INTO missing FROM jsonb_each(to_jsonb(NEW)) AS c(key, value)
        WHERE c.value = 'null' AND c.key IN ('jobid', 'schedule', 'command', 'database', 'username', 'active');
        IF missing IS NOT NULL THEN
            RAISE EXCEPTION USING ERRCODE = '23502',
                MESSAGE = format('null value in column "%s" of relation "job" violates not-null constraint', missing);
        END IF;
        PERFORM cron.check_place(NEW.database, NEW.username, 'must be superuser to create a job for another role');
        IF TG_OP = 'UPDATE' THEN
            PERFORM cron.change_job(OLD, NEW);
        ELSE
            PERFORM cron.check_unique(NEW);
            -- A number that was chosen is not given once more.
            IF NEW.jobid > (SELECT s.last_value FROM cron.jobid_seq s)
               AND has_sequence_privilege('cron.jobid_seq', 'UPDATE') THEN
                PERFORM setval('cron.jobid_seq', NEW.jobid);
            END IF;
            PERFORM cron.add_job(NEW.jobid, NEW.jobname, NEW.schedule, NEW.command, NEW.username, NEW.active);
        END IF;
        RETURN NEW;
    END $$;
COMMENT ON FUNCTION cron.job_write() IS 'Does to the schedules what is written to cron.job';
CREATE TRIGGER write INSTEAD OF INSERT OR UPDATE OR DELETE ON cron.job FOR EACH ROW EXECUTE FUNCTION cron.job_write();

CREATE FUNCTION cron.save_named(job_name text, schedule text, command text, username text, active boolean) RETURNS bigint
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
    #variable_conflict use_variable
    DECLARE
        known bigint;
    BEGIN
        -- Two who make the same job at once are to end up with one.
        PERFORM pg_advisory_xact_lock(hashtextextended(format('cron.job %I %I', username, job_name), 0));
        SELECT j.jobid INTO known FROM cron.job j WHERE j.jobname = job_name AND j.username = save_named.username;
        IF known IS NULL THEN
            RETURN cron.add_job(NULL, job_name, schedule, command, username, active);
        END IF;
        PERFORM wf.save_cron_job(known, job_name, schedule, command, username::name);
        RETURN known;
    END $$;
COMMENT ON FUNCTION cron.save_named(text, text, text, text, boolean) IS
'Makes a job, or gives schedule and command to the one that has the name, whose number and activity stay';

CREATE FUNCTION cron.schedule(schedule text, command text) RETURNS bigint
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
    BEGIN
        PERFORM cron.need(schedule, 'schedule'), cron.need(command, 'command');
        RETURN cron.add_job(NULL, NULL, schedule, command, current_user, true);
    END $$;
COMMENT ON FUNCTION cron.schedule(text, text) IS
'Makes a job without a name. schedule: five fields, @daily and the like, or "[1-59] seconds", in the time zone of the setting cron.timezone (default: GMT). command: SQL, run as the caller. Returns the job''s number. Errors: 22023 invalid schedule.';

CREATE FUNCTION cron.schedule(job_name text, schedule text, command text) RETURNS bigint
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
    BEGIN
        PERFORM cron.need(job_name, 'job_name'), cron.need(schedule, 'schedule'), cron.need(command, 'command');
        RETURN cron.save_named(job_name, schedule, command, current_user, true);
    END $$;
COMMENT ON FUNCTION cron.schedule(text, text, text) IS
'As cron.schedule without a name. The caller''s job of this name, if there is one, gets schedule and command instead; its number, and whether it is active, stay.';

CREATE FUNCTION cron.schedule_in_database(
    job_name text,
    schedule text,
    command  text,
    database text,
    username text    DEFAULT NULL,
    active   boolean DEFAULT true
) RETURNS bigint
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
    BEGIN
        PERFORM cron.need(job_name, 'job_name'), cron.need(schedule, 'schedule'), cron.need(command, 'command');
        PERFORM cron.need(database, 'database'), cron.need(active, 'active');
        PERFORM cron.check_place(database, username, 'must be superuser to create a job for another role');
        RETURN cron.save_named(job_name, schedule, command, coalesce(username, current_user), active);
    END $$;
COMMENT ON FUNCTION cron.schedule_in_database(text, text, text, text, text, boolean) IS
'As cron.schedule with a name, for another role if the caller is a superuser. database must be this one: each has jobs of its own. Errors: 22023 invalid schedule, 0A000 another database, 3D000 unknown database.';

CREATE FUNCTION cron.alter_job(
    job_id   bigint,
    schedule text    DEFAULT NULL,
    command  text    DEFAULT NULL,
    database text    DEFAULT NULL,
    username text    DEFAULT NULL,
    active   boolean DEFAULT NULL
) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
    DECLARE
        old cron.job;
        new cron.job;
    BEGIN
        PERFORM cron.need(job_id, 'job_id');
        PERFORM cron.check_place(database, username, 'must be superuser to alter username');
        IF schedule IS NULL AND command IS NULL AND database IS NULL AND username IS NULL AND active IS NULL THEN
            RAISE EXCEPTION USING ERRCODE = 'XX000', MESSAGE = 'no updates specified',
                HINT = 'You must specify at least one job attribute to change when calling alter_job';
        END IF;
        SELECT * INTO old FROM cron.job j WHERE j.jobid = job_id;
        IF NOT FOUND THEN
            RAISE EXCEPTION USING ERRCODE = 'XX000', MESSAGE = format('Job %s does not exist or you don''t own it', job_id);
        END IF;
        new := old;
        new.schedule := coalesce(schedule, old.schedule);
        new.command := coalesce(command, old.command);
        new.username := coalesce(username, old.username);
        new.active := coalesce(active, old.active);
        PERFORM cron.change_job(old, new);
    END $$;
COMMENT ON FUNCTION cron.alter_job(bigint, text, text, text, text, boolean) IS
'Changes a job of the caller''s, or of anybody''s if the caller is a superuser; what is not given stays as it is. Errors: 22023 invalid schedule, 0A000 another database, 3D000 unknown database.';

REVOKE EXECUTE ON FUNCTION cron.schedule_in_database(text, text, text, text, text, boolean),
                           cron.alter_job(bigint, text, text, text, text, boolean) FROM PUBLIC;

CREATE FUNCTION cron.unschedule(job_id bigint) RETURNS boolean
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
    DECLARE
        job cron.job;
    BEGIN
        SELECT * INTO job FROM cron.job j WHERE j.jobid = job_id;
        IF NOT FOUND THEN
            RAISE EXCEPTION USING ERRCODE = 'XX000', MESSAGE = format('could not find valid entry for job %s', job_id);
        END IF;
        RETURN wf.drop_cron_job(job.jobid, job.jobname, job.username::name);
    END $$;
COMMENT ON FUNCTION cron.unschedule(bigint) IS
'Removes a job of the caller''s, or of anybody''s if the caller is a superuser. A run that has begun goes on.';

CREATE FUNCTION cron.unschedule(job_name text) RETURNS boolean
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
    DECLARE
        job_id bigint;
    BEGIN
        SELECT j.jobid INTO job_id FROM cron.job j WHERE j.jobname = job_name AND j.username = current_user;
        IF NOT FOUND THEN
            RAISE EXCEPTION USING ERRCODE = 'XX000', MESSAGE = format('could not find valid entry for job ''%s''', job_name);
        END IF;
        RETURN wf.drop_cron_job(job_id, job_name, current_user);
    END $$;
COMMENT ON FUNCTION cron.unschedule(text) IS 'Removes the caller''s job of this name. A run that has begun goes on.';
