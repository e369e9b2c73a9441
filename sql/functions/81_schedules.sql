SET LOCAL search_path = @extschema@, pg_temp;
-- Schedules: workflows and SQL that are started at times to come.

CREATE FUNCTION wf_schedule(
    name            text,
    schedule        text,
    workflow        text        DEFAULT NULL,
    input           jsonb       DEFAULT NULL,
    sql             text        DEFAULT NULL,
    time_zone       text        DEFAULT NULL,
    overlap         text        DEFAULT NULL,
    catch_up        text        DEFAULT NULL,
    catch_up_window interval    DEFAULT NULL,
    jitter          interval    DEFAULT NULL,
    starts_at       timestamptz DEFAULT NULL,
    ends_at         timestamptz DEFAULT NULL,
    paused          boolean     DEFAULT NULL,
    time_key        text        DEFAULT NULL,
    priority        integer     DEFAULT NULL,
    timeout         interval    DEFAULT NULL,
    retry           jsonb       DEFAULT NULL,
    transactional   boolean     DEFAULT NULL
) RETURNS timestamptz
    LANGUAGE c AS 'MODULE_PATHNAME', 'wf_schedule';
COMMENT ON FUNCTION wf_schedule(text, text, text, jsonb, text, text, text, text, interval, interval, timestamptz, timestamptz, boolean, text, integer, interval, jsonb, boolean) IS
'Has a workflow started at each time of a schedule, as an instance of the current user''s whose id is the name and the time: name/2030-01-31T03:00:00Z. A schedule of the user''s that has the name is replaced, with a NOTICE; its counters stay. schedule: a cron expression (''0 3 * * *''), an interval (''every 15 minutes'', ''every 1 month from 2030-01-31 12:00'', ''30 seconds''), a time (''at 2030-12-24 18:00''), or a query that returns times to come (a column that can be cast to timestamptz; $1 is the time behind which the next is wanted). workflow: as in wf_start, or SQL, which is run as a step of its own; sql: likewise, SQL in any case. input: of the workflow, or $1 of the SQL (default: {}). time_zone: what cron expressions, calendar intervals and times without an offset are of (default: UTC). overlap, when an instance is open at the next time: skip (default), queue_one (one time waits for the end), allow, cancel (the instance is cancelled, and the next starts at its end). catch_up, when times have passed while nothing ran: last (default: the last of them), all (each that is not older than catch_up_window), none (only what is less than 10 s late). catch_up_window: how late an instance may be started. jitter: starts are put off by up to this, each time of a schedule by the same. starts_at, ends_at: first and last time. paused: it does nothing. time_key: key of the input under which an instance finds the time that it is for. priority, timeout: as in wf_start. retry, transactional: of the SQL, as in wf_step. Returns the next time; NULL if there is none. Needs: EXECUTE on the workflow, LOGIN. Errors: 22023 wrong argument, schedule, time zone, or time that has passed; 42883 unknown workflow, 42501 no privilege, 54000 too long.';

CREATE FUNCTION wf_alter_schedule(
    name            text,
    schedule        text        DEFAULT NULL,
    workflow        text        DEFAULT NULL,
    input           jsonb       DEFAULT NULL,
    sql             text        DEFAULT NULL,
    time_zone       text        DEFAULT NULL,
    overlap         text        DEFAULT NULL,
    catch_up        text        DEFAULT NULL,
    catch_up_window interval    DEFAULT NULL,
    jitter          interval    DEFAULT NULL,
    starts_at       timestamptz DEFAULT NULL,
    ends_at         timestamptz DEFAULT NULL,
    paused          boolean     DEFAULT NULL,
    time_key        text        DEFAULT NULL,
    priority        integer     DEFAULT NULL,
    timeout         interval    DEFAULT NULL,
    retry           jsonb       DEFAULT NULL,
    transactional   boolean     DEFAULT NULL,
    owner           regrole     DEFAULT NULL
) RETURNS timestamptz
    LANGUAGE c AS 'MODULE_PATHNAME', 'wf_alter_schedule';
COMMENT ON FUNCTION wf_alter_schedule(text, text, text, jsonb, text, text, text, text, interval, interval, timestamptz, timestamptz, boolean, text, integer, interval, jsonb, boolean, regrole) IS
'Changes a schedule: the arguments are those of wf_schedule, and what is not given stays as it is. 0 takes away catch_up_window, jitter or timeout, an infinite time starts_at or ends_at, an empty text time_key. paused => true stops it, false has it go on with the next time to come: times of a pause are not caught up. Called with the name only, it asks a query for the next time anew. owner: whose schedule, where several that you may control have the name. Returns the next time, if it is known. Needs: to be the owner or a member of its role; to be the owner, for workflow, sql, input, time_key, retry, transactional, and for a query. Errors: as wf_schedule, 42704 unknown schedule, 42725 several of the name.';

CREATE FUNCTION wf_unschedule(name text, owner regrole DEFAULT NULL) RETURNS boolean
    LANGUAGE c AS 'MODULE_PATHNAME', 'wf_unschedule';
COMMENT ON FUNCTION wf_unschedule(text, regrole) IS
'Removes a schedule; instances that it has started go on. owner: whose schedule, where several that you may control have the name. Needs: to be the owner or a member of its role. Returns whether there was one. Errors: 42725 several of the name.';

CREATE FUNCTION wf_schedule_run(name text, owner regrole DEFAULT NULL) RETURNS text
    LANGUAGE c AS 'MODULE_PATHNAME', 'wf_schedule_run';
COMMENT ON FUNCTION wf_schedule_run(text, regrole) IS
'Has a schedule start its workflow once beside its times, as soon as the caller''s transaction has committed, whether it is paused or an instance of it is open. Returns the id that the instance will have. owner: whose schedule, where several that you may control have the name. Needs: to be the owner or a member of its role. Errors: 42704 unknown schedule, 42725 several of the name.';

CREATE FUNCTION wf_schedule_preview(
    schedule  text,
    n         integer     DEFAULT 10,
    time_zone text        DEFAULT NULL,
    after     timestamptz DEFAULT NULL
) RETURNS TABLE (nr integer, at timestamptz, local_time text)
    LANGUAGE c AS 'MODULE_PATHNAME', 'wf_schedule_preview';
COMMENT ON FUNCTION wf_schedule_preview(text, integer, text, timestamptz) IS
'The next n (1 to 1000) times of a schedule, given by its name or, if there is none of that name, as the text of one. time_zone: default that of the schedule, or UTC. after: default now. Jitter, pauses and overlaps are left out. local_time: what a clock in the time zone shows. Errors: 22023 wrong schedule or argument; 42501 for the query of a schedule that is not of the session''s own role, as it would run with the wrong privileges.';

-- The workflow of schedules that are SQL. In schema wf, where nobody can put another in its place.
CREATE FUNCTION wf.run_sql(input jsonb) RETURNS jsonb
    LANGUAGE plpgsql AS $$
    BEGIN
        RETURN @extschema@.wf_step('run', input OPERATOR(pg_catalog.->>) 'sql', input OPERATOR(pg_catalog.->) 'input',
                                   retry => input OPERATOR(pg_catalog.->) 'retry',
                                   transactional => coalesce((input OPERATOR(pg_catalog.->>) 'transactional')::pg_catalog.bool, true));
    END $$;
COMMENT ON FUNCTION wf.run_sql(jsonb) IS 'workflow of one step: the SQL of a schedule';
