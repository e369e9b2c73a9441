-- The yardstick: a queue as one writes it by hand, in plain SQL, that writes the rows that the extension writes for a
-- workflow: a run inserted and updated (HOT), a queue row inserted and deleted, a row for each step, and the user's own
-- rows. As superuser, in a database that has the extension, after product.sql.

CREATE SCHEMA queue AUTHORIZATION bench;

-- Tables of the very shape of the extension's.
CREATE TABLE queue.runs (LIKE wf_internal.runs INCLUDING ALL);
CREATE TABLE queue.steps (LIKE wf_internal.steps INCLUDING ALL);
CREATE TABLE queue.ready (LIKE wf_internal.ready INCLUDING ALL);
DO $$
DECLARE
    t record;
BEGIN
    FOR t IN SELECT relname, reloptions FROM pg_class
             WHERE relnamespace = 'wf_internal'::regnamespace AND relname IN ('runs', 'steps', 'ready') LOOP
        EXECUTE format('ALTER TABLE queue.%I OWNER TO bench', t.relname);
        IF t.reloptions IS NOT NULL THEN
            EXECUTE format('ALTER TABLE queue.%I SET (%s)', t.relname, array_to_string(t.reloptions, ', '));
        END IF;
    END LOOP;
END $$;

SET ROLE bench;

-- Ids are UUIDv7, as the extension makes them: new ones go to the right end of the indexes.
CREATE PROCEDURE queue.fill(jobs integer) LANGUAGE sql AS $$
    WITH job AS (
        SELECT g AS n, (lpad(to_hex((extract(epoch FROM clock_timestamp()) * 1000)::bigint), 12, '0') || '7' ||
                        lpad(to_hex(g % 4096), 3, '0') || '8' || left(md5(g::text || random()), 15))::uuid AS run_id
        FROM generate_series(1, jobs) AS g
    ), run AS (
        INSERT INTO queue.runs (created_at, run_id, seq, def_id, owner, priority, depth, status, id, input)
        SELECT clock_timestamp(), run_id, 1, 1, current_user::regrole, 0, 0, 'pending', run_id::text, jsonb_build_object('n', n)
        FROM job
        RETURNING owner, priority, run_id
    )
    INSERT INTO queue.ready (owner, priority, run_id) SELECT owner, priority, run_id FROM run
$$;

-- Works off the queue in batches, each of which is a transaction. guarded: a job that fails does not take the batch
-- along, as in any queue that is to live on; the extension has that too.
CREATE PROCEDURE queue.drain(steps_each integer, batch integer DEFAULT 64, guarded boolean DEFAULT false)
    LANGUAGE plpgsql AS $$
DECLARE
    me CONSTANT regrole := current_user::regrole;
    job record;
    done bigint[];
    began timestamptz;
    step_began timestamptz;
BEGIN
    LOOP
        done := '{}';
        FOR job IN
            SELECT q.seq, q.run_id, r.input
            FROM queue.ready q JOIN queue.runs r USING (run_id)
            WHERE q.owner = me
            ORDER BY q.owner, q.priority, q.seq
            LIMIT batch
            FOR UPDATE OF q SKIP LOCKED
        LOOP
            began := clock_timestamp();
            FOR i IN 1..steps_each LOOP
                step_began := clock_timestamp();
                IF guarded THEN
                    BEGIN
                        INSERT INTO effects (n) VALUES ((job.input->>'n')::bigint);
                    EXCEPTION WHEN OTHERS THEN
                        RAISE WARNING 'job %: %', job.run_id, SQLERRM;
                    END;
                ELSE
                    INSERT INTO effects (n) VALUES ((job.input->>'n')::bigint);
                END IF;
                INSERT INTO queue.steps (started_at, finished_at, run_id, n, occurrence, attempt, begun, kind, status, name, result)
                VALUES (step_began, clock_timestamp(), job.run_id, i, i, 1, false, 'step', 'completed', 'add', '1');
            END LOOP;
            UPDATE queue.runs
            SET status = 'completed', result = '1', started_at = began, finished_at = clock_timestamp()
            WHERE run_id = job.run_id;
            done := done || job.seq;
        END LOOP;
        EXIT WHEN done = '{}';
        DELETE FROM queue.ready q WHERE q.owner = me AND q.priority = 0 AND q.seq = ANY (done);
        COMMIT;
    END LOOP;
END $$;

-- The other yardstick: the smallest commit.
CREATE TABLE plain (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, n bigint NOT NULL);
