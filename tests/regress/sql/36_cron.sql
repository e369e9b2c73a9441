-- pg_cron's interface on schedules.
\set SHOW_CONTEXT never
CREATE EXTENSION pg_workflow_cron;
CREATE ROLE cron_ann LOGIN;
CREATE ROLE cron_bob LOGIN;
GRANT USAGE ON SCHEMA cron TO cron_ann, cron_bob;
CREATE TABLE log (who text DEFAULT current_user, what text, path text DEFAULT current_setting('search_path'));
GRANT ALL ON log TO cron_ann, cron_bob;

-- A job by number, a job by name, and the name again, by position and by argument names.
SELECT cron.schedule('30 3 * * 6', $$DELETE FROM events WHERE event_time < now() - interval '1 week'$$);
SELECT cron.schedule('nightly-vacuum', '0 10 * * *', 'VACUUM');
SELECT cron.schedule(job_name := 'nightly-vacuum', schedule := '0 3 * * *', command := 'VACUUM log');
BEGIN;
SELECT cron.schedule(schedule => ' 30 sEcOnDs', command => 'SELECT 1');
UPDATE cron.job SET active = false WHERE jobid = 3;
COMMIT;
SELECT jobid, schedule, command, nodename, nodeport, database, username, active, jobname FROM cron.job ORDER BY jobid;
-- Each is a schedule.
SELECT name, schedule, time_zone, status, overlap, catch_up, next_fire > now() AS next FROM wf.schedules ORDER BY name;

-- Run one now, as its time would.
SELECT wf_schedule_run('cron:nightly-vacuum') IS NOT NULL AS asked;
DO $$
BEGIN
    FOR i IN 1..2000 LOOP
        EXIT WHEN EXISTS (SELECT FROM cron.job_run_details WHERE status = 'succeeded');
        PERFORM pg_sleep(0.01);
    END LOOP;
END $$;
SELECT jobid, database, username, command, status, return_message, start_time <= end_time AS times, runid > 0 AS runid
FROM cron.job_run_details;

-- What does not mean what it seems to is accepted, as pg_cron does, and pointed out.
SELECT cron.schedule('odd', '0 */5 * * * *', 'SELECT 1');
SELECT cron.schedule('odd', '0 0 30 2 *', 'SELECT 1');
SELECT cron.unschedule('odd');
SELECT cron.schedule('yearly', '@yearly', 'SELECT 1');
SELECT to_char(next_fire, 'MM-DD HH24:MI') FROM wf.schedules WHERE name = 'cron:yearly';
SELECT cron.unschedule('yearly');

-- Errors.
SELECT cron.schedule('60 * * * *', 'SELECT 1');
SELECT cron.schedule('x', '5 minutes', 'SELECT 1');
SELECT cron.schedule('x', 'SELECT now()', 'SELECT 1');
SELECT cron.schedule(NULL, '* * * * *', 'SELECT 1');
SELECT cron.schedule('x', NULL, 'SELECT 1');
SELECT cron.schedule('* * * * *', NULL);
SELECT cron.unschedule('nope');
SELECT cron.unschedule(4711);
SELECT cron.alter_job(4711, '* * * * *');
SELECT cron.alter_job(1);
SELECT cron.alter_job(1, schedule => 'x');
SELECT cron.alter_job(1, username => 'nobody_here');
SELECT cron.alter_job(1, database => 'nowhere');
SELECT cron.alter_job(1, database => 'template1');
SELECT cron.schedule_in_database('x', '* * * * *', 'SELECT 1', 'template1');

-- Changes.
SELECT cron.alter_job(1, schedule => '0 4 * * *', active => false);
SELECT cron.alter_job(job_id := 1, command := 'SELECT 2');
SELECT cron.alter_job(2, username => 'cron_ann', database => current_database());
-- A job that is not active stays so when it is said anew.
SELECT cron.schedule_in_database('asleep', '* * * * *', 'SELECT 1', current_database(), active => false);
SELECT cron.schedule('asleep', '*/2 * * * *', 'SELECT 1');
SELECT jobid, schedule, command, username, active, jobname FROM cron.job ORDER BY jobid;
SELECT name, owner, status FROM wf.schedules ORDER BY name;

-- Written directly.
INSERT INTO cron.job (schedule, command) VALUES ('7 7 * * *', 'SELECT 7') RETURNING jobid, username, active;
INSERT INTO cron.job (jobid, schedule, command, database, username, jobname)
VALUES (70, '8 8 * * *', $$INSERT INTO log (what) VALUES ('direct')$$, current_database(), 'cron_bob', 'direct') RETURNING jobid;
UPDATE cron.job SET active = false, nodename = '' WHERE command = 'SELECT 7' RETURNING active;
UPDATE cron.job SET jobname = 'renamed', schedule = '9 9 * * *' WHERE jobname = 'asleep';
DELETE FROM cron.job WHERE jobid = 1;
INSERT INTO cron.job (schedule, command, jobname) VALUES ('* * * * *', 'SELECT 1', 'renamed');
INSERT INTO cron.job (jobid, schedule, command) VALUES (70, '* * * * *', 'SELECT 1');
INSERT INTO cron.job (schedule, command) VALUES ('61 * * * *', 'SELECT 1');
INSERT INTO cron.job (schedule) VALUES ('* * * * *');
INSERT INTO cron.job (schedule, command, database) VALUES ('* * * * *', 'SELECT 1', 'template1');
SELECT jobid, schedule, command, username, active, jobname FROM cron.job ORDER BY jobid;
SELECT name, owner, schedule, status FROM wf.schedules ORDER BY name;

-- Each user has its own, and may not do more.
SET SESSION AUTHORIZATION cron_ann;
SELECT cron.schedule('direct', '0 0 1 1 *', 'SELECT 1') > 0 AS made;
SELECT username, jobname FROM cron.job ORDER BY jobid;
SELECT cron.unschedule(70);
SELECT cron.alter_job(2, active => false);
SELECT cron.schedule_in_database('x', '* * * * *', 'SELECT 1', current_database(), 'cron_bob');
INSERT INTO cron.job (schedule, command) VALUES ('* * * * *', 'SELECT 1');
UPDATE cron.job SET command = 'SELECT 1';
DELETE FROM cron.job;
SELECT cron.add_job(99, 'stolen', '* * * * *', 'SELECT 1', 'cron_bob', true);
SELECT wf.drop_cron_job(70, 'direct', 'cron_bob');
SELECT * FROM wf_import_pg_cron();
SELECT count(*) FROM cron.job_run_details;
-- A schedule made by hand cannot spoil the view for others.
SELECT wf_schedule('mine', '0 0 1 1 *', 'wf.cron_job', '{"jobid": "no number", "command": "SELECT 1"}') IS NOT NULL AS made;
SELECT cron.unschedule('direct'), cron.unschedule('nightly-vacuum');
RESET SESSION AUTHORIZATION;
GRANT EXECUTE ON FUNCTION cron.alter_job, cron.schedule_in_database TO cron_ann;
SET SESSION AUTHORIZATION cron_ann;
SELECT cron.schedule_in_database('x', '* * * * *', 'SELECT 1', current_database(), 'cron_bob');
SELECT cron.schedule_in_database('x', '0 0 1 1 *', 'SELECT 1', current_database()) > 0 AS made;
SELECT cron.alter_job(70, active => false);
SELECT cron.alter_job(jobid, username => 'cron_bob') FROM cron.job;
RESET SESSION AUTHORIZATION;
SELECT username, jobname FROM cron.job ORDER BY jobid;

-- As its user, with that user's own search_path, whoever has made it.
ALTER ROLE cron_bob SET search_path = public, pg_temp;
SET search_path = wf, public;
SELECT cron.alter_job(70, schedule => '8 9 * * *');
SHOW search_path;
SELECT current_user, session_user;
RESET search_path;
SELECT wf_schedule_run('cron:direct') IS NOT NULL AS asked;
DO $$
BEGIN
    FOR i IN 1..2000 LOOP
        EXIT WHEN EXISTS (SELECT FROM cron.job_run_details WHERE status = 'succeeded' AND jobid = 70);
        PERFORM pg_sleep(0.01);
    END LOOP;
END $$;
SELECT * FROM log;
SELECT jobid, username, status, return_message FROM cron.job_run_details ORDER BY jobid, runid;

-- What a run says: the error, the number of rows; and it is not tried again.
SELECT cron.schedule('fails', '0 0 1 1 *', 'SELECT 1/0');
SELECT cron.schedule('rows', '0 0 1 1 *', 'SELECT generate_series(1, 3)');
SELECT cron.schedule('both', '0 0 1 1 *', $$INSERT INTO log (what) VALUES ('a'); INSERT INTO log (what) VALUES ('b'), ('c') -- so$$);
SELECT count(wf_schedule_run('cron:' || name)) FROM unnest('{fails,rows,both}'::text[]) AS name;
DO $$
BEGIN
    FOR i IN 1..2000 LOOP
        EXIT WHEN (SELECT count(*) FROM cron.job_run_details WHERE end_time IS NOT NULL) = 5;
        PERFORM pg_sleep(0.01);
    END LOOP;
END $$;
SELECT j.jobname, d.status, d.return_message FROM cron.job_run_details d JOIN cron.job j USING (jobid) ORDER BY j.jobname;
-- Old rows may be deleted, by their users.
SET SESSION AUTHORIZATION cron_bob;
DELETE FROM cron.job_run_details WHERE end_time < now() + interval '1 day';
RESET SESSION AUTHORIZATION;
DELETE FROM cron.job_run_details WHERE status = 'failed';
SELECT jobid, status FROM cron.job_run_details ORDER BY jobid, runid;

-- The time zone of jobs that are made from now on.
SET cron.timezone = 'Europe/Berlin';
SELECT cron.schedule('berlin', '0 3 * * *', 'SELECT 1') > 0 AS made;
SELECT time_zone FROM wf.schedules WHERE name = 'cron:berlin';
RESET cron.timezone;
SELECT cron.schedule('berlin', '0 4 * * *', 'SELECT 1') > 0 AS made;
SELECT time_zone, schedule FROM wf.schedules WHERE name = 'cron:berlin';

-- Everything is commented.
SELECT pg_describe_object(d.classid, d.objid, d.objsubid) AS uncommented
FROM pg_depend d JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
WHERE e.extname = 'pg_workflow_cron' AND d.deptype = 'e'
  AND (d.classid <> 'pg_class'::regclass OR (SELECT relkind FROM pg_class WHERE oid = d.objid) IN ('r', 'v'))
  AND d.classid <> 'pg_type'::regclass AND d.classid <> 'pg_trigger'::regclass AND d.classid <> 'pg_rewrite'::regclass
  AND obj_description(d.objid, d.classid::regclass::name) IS NULL
ORDER BY 1;
-- Numbers go on where they were, also in an extension that is made anew.
DROP EXTENSION pg_workflow_cron;
CREATE EXTENSION pg_workflow_cron;
SELECT cron.schedule('0 0 1 1 *', 'SELECT 1') > 70 AS next;
SELECT count(cron.unschedule(jobid)) FROM cron.job;
SELECT name FROM wf.schedules;
SELECT * FROM wf_import_pg_cron();

DROP EXTENSION pg_workflow CASCADE;
DROP TABLE log;
DROP ROLE cron_ann, cron_bob;
