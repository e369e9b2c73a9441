-- Schedules: workflows and SQL that are started at times to come.
\set SHOW_CONTEXT never
-- Times to come, seen from fixed points. Cron is about the clock of the time zone, also where it is set.
SELECT nr, at, local_time FROM wf_schedule_preview('30 2 * * *', 3, 'Europe/Berlin', '2026-03-27 12:00+00');
SELECT nr, at, local_time FROM wf_schedule_preview('30 2 * * *', 3, 'Europe/Berlin', '2026-10-23 12:00+00');
SELECT at, local_time FROM wf_schedule_preview('*/30 1-3 * * *', 8, 'Europe/Berlin', '2026-10-24 23:00+00');
SELECT at FROM wf_schedule_preview('0 9 * * mon-fri', 3, after => '2026-11-27 10:00+00');
SELECT at FROM wf_schedule_preview('30 seconds', 2, after => '2026-11-26 10:00:01+00');
-- Intervals: of real time, or by the calendar; from the beginning of 2001, unless they say from when.
SELECT at FROM wf_schedule_preview('every 90 minutes', 3, after => '2026-11-26 10:00+00');
SELECT at FROM wf_schedule_preview('every 90 minutes from 2026-11-26 10:07', 3, after => '2026-11-26 10:00+00');
SELECT at, local_time FROM wf_schedule_preview('every 1 month from 2026-01-31 12:00', 3, 'Europe/Berlin', '2026-02-01');
SELECT to_char(at, 'Dy YYYY-MM-DD HH24:MI') FROM wf_schedule_preview('every 7 days', 2, after => '2026-11-26');
-- One time, on the clock of the zone or with an offset.
SELECT at, local_time FROM wf_schedule_preview('at 2030-12-24 18:00', 3, 'Europe/Berlin');
SELECT at FROM wf_schedule_preview('2030-12-24 18:00+00', 3, 'Europe/Berlin');
-- A query, which may use $1, the time behind which the next is wanted.
CREATE TABLE holidays (day date PRIMARY KEY);
INSERT INTO holidays VALUES ('2030-12-25'), ('2030-12-26'), ('2031-01-01');
SELECT at, local_time FROM wf_schedule_preview('SELECT day + time ''08:00'' FROM holidays', 5, 'Europe/Berlin');
SELECT at FROM wf_schedule_preview('SELECT date_trunc(''month'', $1) + interval ''1 month - 1 day'' + n * interval ''1 month'' FROM generate_series(0, 1) n',
                                   2, after => '2026-11-30');
SELECT at FROM wf_schedule_preview('SELECT day FROM no_such_table');
SELECT at FROM wf_schedule_preview('SELECT 1; SELECT 2');
SELECT at FROM wf_schedule_preview('WITH gone AS (DELETE FROM holidays RETURNING day) SELECT day FROM gone');
-- What is no schedule, and what is a strange one.
SELECT wf_schedule_preview('0 25 * * *');
SELECT wf_schedule_preview('now and then');
SELECT wf_schedule_preview('every -1 day');
SELECT wf_schedule_preview('every 10 ms');
SELECT wf_schedule_preview('every now and then');
SELECT wf_schedule_preview('every day from the beginning');
SELECT wf_schedule_preview('at infinity');
SELECT wf_schedule_preview('0 0 30 2 *');
SELECT wf_schedule_preview('0 0 * * *', 0);
SELECT wf_schedule_preview('0 0 * * *', time_zone => 'Europe/Berlln');

CREATE TABLE log (id bigint GENERATED ALWAYS AS IDENTITY, what text);
CREATE FUNCTION report(of text, days integer DEFAULT 1) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    PERFORM wf_step('log', 'INSERT INTO log (what) VALUES ($1 #>> ''{}'')', to_jsonb(of));
    RETURN to_jsonb(of);
END $$;
CREATE FUNCTION waits(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN wf_wait_signal('go'); END $$;
CREATE FUNCTION until(condition text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE met boolean;
BEGIN
    FOR i IN 1..1000 LOOP
        EXECUTE 'SELECT ' || condition INTO met;
        IF met THEN RETURN 'yes'; END IF;
        PERFORM pg_sleep(0.01);
    END LOOP;
    RETURN 'no: ' || condition;
END $$;
-- As if nobody had looked for a time.
CREATE FUNCTION back(which text, by interval) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    UPDATE wf_internal.schedules s SET next_at = next_at - by, after_at = after_at - by WHERE s.name = which;
    PERFORM wf_alter_schedule(which);
END $$;

-- Refused at the door, and no row.
SELECT wf_schedule('x', '0 25 * * *', 'report', '{"of": "x"}');
SELECT wf_schedule('x', '0 3 * * *', 'no_such_workflow');
SELECT wf_schedule('x', '0 3 * * *', 'report');
SELECT wf_schedule('x', '0 3 * * *', 'report', '{"of": "x", "days": "many"}');
SELECT wf_schedule('x', '0 3 * * *');
SELECT wf_schedule('x', '0 3 * * *', 'report', '{"of": "x"}', sql => 'SELECT 1');
SELECT wf_schedule('x', '0 3 * * *', sql => '  ');
SELECT wf_schedule('x', '0 3 * * *', 'SELEC 1');
SELECT wf_schedule('x', '0 3 * * *', 'report', '{"of": "x"}', time_zone => 'Mars');
SELECT wf_schedule('x', '0 3 * * *', 'report', '{"of": "x"}', overlap => 'maybe');
SELECT wf_schedule('x', '0 3 * * *', 'report', '{"of": "x"}', catch_up => 'some');
SELECT wf_schedule('x', '0 3 * * *', 'report', '{"of": "x"}', catch_up => 'all');
SELECT wf_schedule('x', '0 3 * * *', 'report', '{"of": "x"}', jitter => '-1 s');
SELECT wf_schedule('x', '0 3 * * *', 'report', '{"of": "x"}', priority => 5000);
SELECT wf_schedule('x', '0 3 * * *', 'report', '{"of": "x"}', retry => '{"max_attempts": 3}');
SELECT wf_schedule('x', '0 3 * * *', 'report', '{"of": "x"}', transactional => false);
SELECT wf_schedule('x', '0 3 * * *', sql => 'SELECT 1', retry => '{"max_attempt": 3}');
SELECT wf_schedule('x', '0 3 * * *', 'waits', '[]', time_key => 'at');
SELECT wf_schedule('x', '0 3 * * *', 'waits', starts_at => '2031-01-01', ends_at => '2030-01-01');
SELECT wf_schedule('x', 'at 2020-01-01', 'waits');
SELECT wf_schedule('', '0 3 * * *', 'waits');
SELECT wf_schedule('x', NULL, 'waits');
SELECT wf_alter_schedule('x', paused => true);
SELECT wf_schedule_run('x');
SELECT wf_unschedule('x');
SELECT count(*) FROM wf.schedules;

-- A workflow each day. Its instances are named by schedule and time.
SELECT wf_schedule('daily', '0 0 * * *', 'report', '{"of": "daily"}') = date_trunc('day', now()) + interval '1 day' AS next;
SELECT back('daily', '1 day');
SELECT until($$(SELECT fired = 1 AND running = 0 FROM wf.schedules)$$);
SELECT name, schedule, time_zone, workflow, sql, status, next_fire = date_trunc('day', now()) + interval '1 day' AS next_fire,
       last_tick = date_trunc('day', now()) AS last_tick, lag = last_fire - last_tick AS lag, fired, missed, skipped, failed, running,
       last_id = 'daily/' || to_char(now(), 'YYYY-MM-DD"T00:00:00Z"') AS last_id, last_status, last_error, overlap, catch_up
FROM wf.schedules;
SELECT workflow, status, result, schedule FROM wf.workflows;
SELECT what FROM log;
-- Said again: it is replaced, its counters stay; a tick that is due and not dealt with is not lost.
BEGIN;
UPDATE wf_internal.schedules SET next_at = next_at - interval '2 days', after_at = after_at - interval '2 days';
SELECT wf_schedule('daily', '0 0 * * *', 'report', '{"of": "daily, again"}') = date_trunc('day', now()) - interval '1 day' AS next;
COMMIT;
SELECT until($$(SELECT fired = 2 FROM wf.schedules)$$);
SELECT fired, missed, last_id = 'daily/' || to_char(now(), 'YYYY-MM-DD"T00:00:00Z/"') || (SELECT schedule_id FROM wf_internal.schedules) AS last_id FROM wf.schedules;
SELECT until($$(SELECT last_status = 'completed' FROM wf.schedules)$$);
SELECT what FROM log ORDER BY id;
-- Rolled back, it is not there; removed, it is gone.
BEGIN;
SELECT wf_unschedule('daily');
ROLLBACK;
SELECT count(*) FROM wf.schedules;
SELECT wf_unschedule('daily'), wf_unschedule('daily');
SELECT count(*) FROM wf.schedules;
-- One that found it locked by the transaction above has set a timer to look again.
SELECT until($$(SELECT count(*) = 0 FROM wf_internal.timers)$$);

-- SQL is a workflow of one step. The time that an instance is for is put into its input.
SELECT wf_schedule('sql', '0 0 * * *', 'INSERT INTO log (what) SELECT format(''%s at %s'', $1->>''what'', ($1->>''at'')::timestamptz = date_trunc(''day'', now()))',
                   '{"what": "SQL"}', time_key => 'at') IS NOT NULL AS next;
SELECT wf_schedule('one word', '0 0 * * *', sql => 'analyze', retry => '{"max_attempts": 1}') IS NOT NULL AS next;
SELECT wf_schedule('vacuum', '0 0 * * *', sql => 'VACUUM log', transactional => false) IS NOT NULL AS next;
SELECT back(name, '1 day') FROM wf.schedules;
SELECT until($$(SELECT bool_and(last_status IS NOT DISTINCT FROM 'completed') FROM wf.schedules)$$);
SELECT name, workflow, sql, last_status, retry, transactional, time_key FROM wf.schedules ORDER BY name;
SELECT w.workflow, s.name AS step, s.status FROM wf.workflows w JOIN wf.steps s USING (run_id) WHERE w.schedule IS NOT NULL ORDER BY w.id;
SELECT what FROM log WHERE what LIKE 'SQL%';
SELECT count(wf_unschedule(name)) FROM wf.schedules;
-- A policy for its errors, and an error at last.
SELECT wf_schedule('fails', '0 0 * * *', sql => 'SELECT 1/0', retry => '{"max_attempts": 2, "first_delay": "1 ms"}') IS NOT NULL AS next;
SELECT back('fails', '1 day');
SELECT until($$(SELECT last_status = 'failed' FROM wf.schedules)$$);
SELECT s.last_status, s.last_run_error, s.failed, t.attempt FROM wf.schedules s JOIN wf.steps t ON t.id = s.last_id;
SELECT wf_unschedule('fails');

-- An instance is open when the next time comes.
SELECT name, wf_schedule(name, '0 0 * * *', 'waits', overlap => name) IS NOT NULL AS next
FROM unnest('{skip, queue_one, allow, cancel}'::text[]) AS name;
SELECT back(name, '1 day') FROM wf.schedules;
SELECT until($$(SELECT bool_and(fired = 1 AND running = 1) FROM wf.schedules)$$);
SELECT until($$(SELECT count(*) = 4 FROM wf.workflows WHERE status = 'waiting')$$);
UPDATE wf_internal.schedules SET next_at = next_at - interval '1 day' + interval '1 minute';
SELECT wf_alter_schedule(name) < now() AS is_due FROM wf.schedules;
SELECT until($$(SELECT bool_and(fired + skipped = 2 OR queued IS NOT NULL) FROM wf.schedules)$$);
SELECT until($$(SELECT fired = 2 FROM wf.schedules WHERE name = 'cancel')$$);
SELECT name, fired, skipped, queued IS NOT NULL AS queued, running FROM wf.schedules ORDER BY name;
SELECT until($$(SELECT count(*) = 5 FROM wf.workflows WHERE status = 'waiting')$$);
SELECT schedule, status, error FROM wf.workflows WHERE schedule = 'cancel' ORDER BY created_at;
-- A third: one only is queued.
UPDATE wf_internal.schedules SET next_at = next_at - interval '1 day' + interval '2 minutes' WHERE name = 'queue_one';
SELECT wf_alter_schedule('queue_one') < now() AS is_due;
SELECT until($$(SELECT skipped = 1 FROM wf.schedules WHERE name = 'queue_one')$$);
-- The end of the first has the queued one start.
SELECT wf_signal(last_id, 'go', '"first"') FROM wf.schedules WHERE name = 'queue_one';
SELECT until($$(SELECT fired = 2 FROM wf.schedules WHERE name = 'queue_one')$$);
SELECT name, fired, skipped, queued IS NOT NULL AS queued, running FROM wf.schedules WHERE name = 'queue_one';
SELECT until($$(SELECT count(*) = 5 FROM wf.workflows WHERE status = 'waiting')$$);
SELECT status, result FROM wf.workflows WHERE schedule = 'queue_one' ORDER BY created_at;
SELECT count(wf_unschedule(name)) FROM wf.schedules;
SELECT count(wf_cancel(id)) FROM wf.workflows WHERE status = 'waiting';

-- Times have passed while nothing ran.
SELECT name, wf_schedule(name, '0 0 * * *', 'report', jsonb_build_object('of', name), catch_up => split_part(name, ' ', 1), catch_up_window => w) IS NOT NULL AS next
FROM (VALUES ('none', NULL), ('last', NULL), ('last in time', interval '1 day'), ('all', interval '10 days'), ('all in time', interval '1 day')) AS v(name, w);
SELECT back(name, '3 days') FROM wf.schedules;
SELECT until($$(SELECT bool_and(fired + missed = 3 AND running = 0) FROM wf.schedules)$$);
SELECT name, fired, missed, skipped, status, next_fire > now() AS next FROM wf.schedules ORDER BY name;
SELECT schedule, count(*) FROM wf.workflows WHERE schedule IS NOT NULL GROUP BY 1 ORDER BY 1;
-- All at once, where that is allowed; else one after the other, however they overlap. Those of 'all' above were not skipped either.
SELECT wf_schedule('side by side', '0 0 * * *', 'waits', overlap => 'allow', catch_up => 'all', catch_up_window => '1 month') IS NOT NULL AS next;
SELECT wf_schedule('in turn', '0 0 * * *', 'waits', overlap => 'cancel', catch_up => 'all', catch_up_window => '1 month') IS NOT NULL AS next;
SELECT back('side by side', '3 days'), back('in turn', '3 days');
SELECT until($$(SELECT running = 3 FROM wf.schedules WHERE name = 'side by side')$$);
SELECT until($$(SELECT fired = 1 FROM wf.schedules WHERE name = 'in turn')$$);
SELECT wf_signal(last_id, 'go') FROM wf.schedules WHERE name = 'in turn';
SELECT until($$(SELECT fired = 2 FROM wf.schedules WHERE name = 'in turn')$$);
SELECT wf_signal(last_id, 'go') FROM wf.schedules WHERE name = 'in turn';
SELECT until($$(SELECT fired = 3 FROM wf.schedules WHERE name = 'in turn')$$);
SELECT until($$(SELECT count(*) = 4 FROM wf.workflows WHERE status = 'waiting')$$);
SELECT status FROM wf.workflows WHERE schedule = 'in turn' ORDER BY id;
SELECT count(wf_unschedule(name)) FROM wf.schedules;
SELECT count(wf_cancel(id)) FROM wf.workflows WHERE status = 'waiting';

-- Bounds, pauses, one time.
SELECT wf_schedule('late', '0 0 * * *', 'waits', starts_at => '2031-05-05 10:00');
SELECT wf_alter_schedule('late', ends_at => '2031-05-05 12:00');
SELECT status, next_fire FROM wf.schedules;
SELECT wf_alter_schedule('late', starts_at => '-infinity', ends_at => 'infinity') = date_trunc('day', now()) + interval '1 day' AS next;
SELECT wf_alter_schedule('late', paused => true);
SELECT status, next_fire, starts_at, ends_at FROM wf.schedules;
SELECT wf_alter_schedule('late', paused => false) = date_trunc('day', now()) + interval '1 day' AS next;
SELECT wf_alter_schedule('late', schedule => '0 12 * * *', time_zone => 'asia/kathmandu', overlap => 'allow', jitter => '1 h', timeout => '1 min', priority => 7) IS NOT NULL AS next;
SELECT schedule, time_zone, overlap, jitter, timeout, priority, next_fire - date_trunc('day', next_fire) BETWEEN '06:15' AND '07:15' AS next FROM wf.schedules;
SELECT wf_alter_schedule('late', jitter => '0', timeout => '0') IS NOT NULL AS next;
SELECT jitter, timeout FROM wf.schedules;
SELECT wf_unschedule('late');
SELECT wf_schedule('once', 'at ' || (now() + interval '300 ms')::text, 'report', '{"of": "once"}') IS NOT NULL AS next;
SELECT until($$(SELECT last_status = 'completed' FROM wf.schedules)$$);
SELECT status, next_fire, fired, last_tick IS NOT NULL AS ticked FROM wf.schedules;
SELECT wf_unschedule('once');

-- Each second, by the clock of the world.
SELECT wf_schedule('seconds', '1 seconds', 'report', '{"of": "second"}') IS NOT NULL AS next;
SELECT until($$(SELECT fired >= 2 FROM wf.schedules)$$);
SELECT wf_alter_schedule('seconds', paused => true);
SELECT bool_and(id = 'seconds/' || to_char(created_at, 'YYYY-MM-DD"T"HH24:MI:SS"Z"')) AS by_the_clock FROM wf.workflows WHERE schedule = 'seconds';
-- Now, beside its times, although it is paused.
SELECT wf_schedule_run('seconds') AS id \gset
SELECT :'id' LIKE 'seconds/20%.%Z' AS id;
SELECT until(format($$(SELECT count(*) FROM wf.workflows WHERE id = %L AND status = 'completed') = 1$$, :'id'));
SELECT status, next_fire, last_id = :'id' AS last_id FROM wf.schedules;
SELECT wf_unschedule('seconds');

-- The workflow is dropped: its time fails, and is seen; later ones go on.
SELECT wf_schedule('lost', '0 0 * * *', 'report', '{"of": "lost"}') IS NOT NULL AS next;
ALTER FUNCTION report RENAME TO report_no_more;
SELECT back('lost', '1 day');
SELECT until($$(SELECT failed = 1 FROM wf.schedules)$$);
SELECT status, fired, failed, last_error, last_sqlstate, last_error_at IS NOT NULL AS at, next_fire > now() AS next FROM wf.schedules;
ALTER FUNCTION report_no_more RENAME TO report;
SELECT back('lost', '1 day');
SELECT until($$(SELECT last_status = 'completed' FROM wf.schedules)$$);
SELECT fired, failed FROM wf.schedules;
SELECT wf_unschedule('lost');

-- Times from a query.
SELECT wf_schedule('calendar', 'SELECT day FROM holidays', 'report', '{"of": "holiday"}', time_zone => 'Europe/Berlin');
INSERT INTO holidays SELECT date_trunc('day', now());
SELECT wf_alter_schedule('calendar');
SELECT back('calendar', '30 years');
SELECT until($$(SELECT last_status = 'completed' FROM wf.schedules)$$);
SELECT status, next_fire, last_tick = date_trunc('day', now(), 'Europe/Berlin') OR last_tick = date_trunc('day', now()) AT TIME ZONE 'UTC' AT TIME ZONE 'Europe/Berlin' AS ticked, fired, missed FROM wf.schedules;
-- It fails, and is asked again later; or at once, when that is said.
ALTER TABLE holidays RENAME TO holidays_no_more;
SELECT wf_alter_schedule('calendar');
SELECT until($$(SELECT status = 'failing' FROM wf.schedules WHERE name = 'calendar')$$);
SELECT status, next_fire, last_error, last_sqlstate FROM wf.schedules WHERE name = 'calendar';
ALTER TABLE holidays_no_more RENAME TO holidays;
SELECT wf_alter_schedule('calendar');
SELECT until($$(SELECT status = 'active' FROM wf.schedules WHERE name = 'calendar')$$);
DELETE FROM holidays;
SELECT wf_alter_schedule('calendar');
SELECT count(wf_unschedule(name)) FROM wf.schedules;

-- A purge takes instances, and leaves schedules.
SELECT wf_schedule('stays', '0 0 * * *', 'report', '{"of": "stays"}') IS NOT NULL AS next;
SELECT back('stays', '1 day');
SELECT until($$(SELECT last_status = 'completed' FROM wf.schedules)$$);
SELECT wf_purge('0 s') > 0 AS purged;
SELECT name, fired, running, last_status FROM wf.schedules;
-- Inside a workflow it is done in a step.
CREATE FUNCTION plans(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    IF input = '"step"' THEN RETURN wf_step('plan', $s$ SELECT wf_unschedule('stays') $s$); END IF;
    PERFORM wf_unschedule('stays');
    RETURN NULL;
END $$;
SELECT wf_start('plans', '"no"', id => 'no'), wf_start('plans', '"step"', id => 'step');
SELECT wf_result('no', wait => '10 s');
SELECT wf_result('step', wait => '10 s');
SELECT count(*) FROM wf.schedules;
