-- What must hold when workers and the server have been killed: each task is done, and once. An exception if it does not.
\set QUIET on
\pset footer off
\pset linestyle ascii

CREATE TEMP VIEW soaked AS
SELECT t.run_id || '/' || t.n AS call, t.status, s.status AS answer, s.result
FROM wf_internal.queues q JOIN wf_internal.tasks t USING (queue_id) JOIN wf_internal.steps s USING (run_id, n)
WHERE q.name = 'soak';

CREATE TEMP TABLE checked (n integer GENERATED ALWAYS AS IDENTITY, what text, found bigint, wanted bigint);
INSERT INTO checked (what, found, wanted) VALUES
    ('tasks in the queue''s history', (SELECT count(*) FROM soaked), :tasks),
    ('  completed', (SELECT count(*) FROM soaked WHERE status = 'completed'), :tasks),
    ('  whose call has their result', (SELECT count(*) FROM soaked WHERE answer = 'completed'), :tasks),
    ('effects', (SELECT count(*) FROM effects), :tasks),
    ('  of different tasks', (SELECT count(DISTINCT call) FROM effects), :tasks),
    ('  of the attempt whose result it is',
        (SELECT count(*) FROM effects e JOIN soaked s USING (call) WHERE to_jsonb(e.attempt) = s.result), :tasks),
    ('instances not completed',
        (SELECT count(*) FROM wf_internal.runs WHERE input->>'queue' = 'soak' AND status <> 'completed'), 0),
    ('tasks that they have counted',
        (SELECT sum(result::integer) FROM wf_internal.runs WHERE input->>'queue' = 'soak'), :tasks),
    ('places left in the queue',
        (SELECT count(*) FROM wf_internal.task_queue p JOIN wf_internal.queues q USING (queue_id) WHERE q.name = 'soak'), 0),
    ('rows left in ready, timers and answers',
        (SELECT (SELECT count(*) FROM wf_internal.ready) + (SELECT count(*) FROM wf_internal.timers)
              + (SELECT count(*) FROM wf_internal.answers)), 0),
    ('workers that an error of a statement has ended', :errors, 0),
    ('internal errors and deadlocks in the server log', :logged, 0);

\echo
SELECT what AS check, found, wanted, CASE WHEN found = wanted THEN 'yes' ELSE 'NO' END AS good FROM checked ORDER BY n;

DO $$
DECLARE
    wrong bigint := (SELECT count(*) FROM checked c WHERE c.found IS DISTINCT FROM c.wanted);
BEGIN
    IF wrong > 0 THEN
        RAISE EXCEPTION '% checks find something', wrong;
    END IF;
END $$;
