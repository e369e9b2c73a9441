-- What the soak test runs. As superuser, in a database that has the extension; roles soak_a and soak_b share it all.
-- Each step inserts one row into effects, under the name and occurrence that it has in the history: what was done is
-- there to be compared with what was recorded.

CREATE TABLE effects (instance text NOT NULL, step text NOT NULL, n integer NOT NULL, at timestamptz NOT NULL DEFAULT clock_timestamp());
COMMENT ON TABLE effects IS 'what steps have done; no key, so that what is done twice is there twice';

CREATE TABLE started (
    at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    owner   regrole     NOT NULL DEFAULT current_user::regrole,
    id      text        NOT NULL,
    kind    text        NOT NULL,
    ends    text        NOT NULL,   -- pattern of the status it is to end with
    effects integer,                -- how many, where that is known beforehand
    result  jsonb,
    -- In a transaction that stays open behind it.
    held    boolean     NOT NULL DEFAULT coalesce(current_setting('soak.held', true) = 'yes', false)
);
CREATE INDEX ON started (at);
COMMENT ON TABLE started IS 'what clients have started, written in the transaction of the start';

-- Few, so that transfers meet.
CREATE TABLE accounts (name integer PRIMARY KEY, balance bigint NOT NULL DEFAULT 0);
INSERT INTO accounts SELECT generate_series(0, 11);

CREATE TABLE todo (
    due     timestamptz NOT NULL DEFAULT clock_timestamp() + random() * interval '3 s',
    owner   regrole     NOT NULL DEFAULT current_user::regrole,
    id      text        NOT NULL,
    what    text        NOT NULL,   -- signal, cancel
    first   integer                 -- signal: the first one that has not been sent
);
CREATE INDEX ON todo (owner, due);
COMMENT ON TABLE todo IS 'signals and cancels that clients are to send later';

CREATE SEQUENCE ids;

-- --- steps -----------------------------------------------------------------------------------------------------------

CREATE FUNCTION here(input jsonb, step text, n integer) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
    SELECT jsonb_build_object('instance', input->'id', 'step', step, 'n', n)
$$;

CREATE FUNCTION mark(instance text, step text, n integer) RETURNS integer LANGUAGE sql AS $$
    INSERT INTO effects (instance, step, n) VALUES (mark.instance, mark.step, mark.n) RETURNING n
$$;

CREATE FUNCTION mark_or_fail(instance text, step text, n integer, share float) RETURNS integer LANGUAGE plpgsql AS $$
BEGIN
    PERFORM mark(instance, step, n);
    IF random() < share THEN
        RAISE EXCEPTION 'as it happens' USING ERRCODE = 'P0042';
    END IF;
    RETURN n;
END $$;

CREATE FUNCTION mark_slowly(instance text, step text, n integer, seconds float) RETURNS integer LANGUAGE plpgsql AS $$
BEGIN
    PERFORM mark(instance, step, n), pg_sleep(seconds);
    RETURN n;
END $$;

-- Locks two accounts in the order given: in another order than somebody else does.
CREATE FUNCTION move(instance text, step text, n integer, source integer, target integer) RETURNS integer LANGUAGE plpgsql AS $$
BEGIN
    PERFORM mark(instance, step, n);
    UPDATE accounts SET balance = balance - 1 WHERE name = source;
    UPDATE accounts SET balance = balance + 1 WHERE name = target;
    RETURN n;
END $$;

-- --- workflows -------------------------------------------------------------------------------------------------------

CREATE FUNCTION quick(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    RETURN wf_step('add', 'mark', here(input, 'add', 1));
END $$;

CREATE FUNCTION several(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    begun timestamptz := wf_now();
    key   uuid := wf_uuid();
BEGIN
    FOR i IN 1..(input->>'steps')::integer LOOP
        IF wf_random() < 0.5 THEN
            PERFORM wf_step('part', 'mark', here(input, 'part', i));
        ELSE
            PERFORM wf_step('part', $sql$
                INSERT INTO effects (instance, step, n) SELECT $1->>'instance', $1->>'step', ($1->>'n')::integer
            $sql$, here(input, 'part', i));
        END IF;
        PERFORM wf_set('progress', to_jsonb(i));
    END LOOP;
    RETURN to_jsonb(wf_now() >= begun AND wf_uuid() <> key);
END $$;

CREATE FUNCTION flaky(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    PERFORM wf_step('first', 'mark', here(input, 'first', 1));
    RETURN wf_step('flaky', 'mark_or_fail', here(input, 'flaky', 1) || '{"share": 0.5}',
                   retry => '{"max_attempts": 0, "first_delay": "10 ms", "max_delay": "200 ms"}');
END $$;

-- input: {"caught": true}
CREATE FUNCTION fails(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    PERFORM wf_step('first', 'mark', here(input, 'first', 1));
    BEGIN
        PERFORM wf_step('fatal', 'mark_or_fail', here(input, 'fatal', 1) || '{"share": 1}',
                        retry => '{"max_attempts": 2, "first_delay": "10 ms"}');
    EXCEPTION WHEN SQLSTATE 'P0042' THEN
        IF NOT (input->>'caught')::boolean THEN
            RAISE;
        END IF;
        PERFORM wf_step('undo', 'mark', here(input, 'undo', 1));
    END;
    RETURN 'true';
END $$;

-- input: {"naps": [5, 1200]}, in milliseconds
CREATE FUNCTION naps(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1..jsonb_array_length(input->'naps') LOOP
        PERFORM wf_sleep((input->'naps'->>i - 1)::integer * interval '1 ms');
        PERFORM wf_step('awake', 'mark', here(input, 'awake', i));
    END LOOP;
    RETURN 'true';
END $$;

CREATE FUNCTION signalled(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    got jsonb := '[]';
BEGIN
    PERFORM wf_step('before', 'mark', here(input, 'before', 1));
    FOR i IN 1..2 LOOP
        got := got || wf_wait_signal('go');
        PERFORM wf_step('after', 'mark', here(input, 'after', i));
    END LOOP;
    RETURN got || to_jsonb(wf_wait_signal('never', timeout => '20 ms') IS NULL);
END $$;

-- input: {"at": "sleep"}
CREATE FUNCTION cancelled(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    PERFORM wf_step('first', 'mark', here(input, 'first', 1));
    CASE input->>'at'
        WHEN 'sleep' THEN PERFORM wf_sleep('1 day');
        WHEN 'signal' THEN PERFORM wf_wait_signal('never');
        WHEN 'retry' THEN
            PERFORM wf_step('in vain', 'mark_or_fail', here(input, 'in vain', 1) || '{"share": 1}',
                            retry => '{"max_attempts": 0, "first_delay": "50 ms"}');
        WHEN 'step' THEN
            PERFORM wf_step('slow', 'mark_slowly', here(input, 'slow', 1) || '{"seconds": 600}');
    END CASE;
    RETURN 'false';
EXCEPTION WHEN SQLSTATE 'WF002' THEN
    PERFORM wf_step('release', 'mark', here(input, 'release', 1));
    RAISE;
END $$;

CREATE FUNCTION slow(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    RETURN wf_step('slow', 'mark_slowly', here(input, 'slow', 1) || '{"seconds": 1}');
END $$;

-- input: {"moves": [[1, 7], [7, 3]]}
CREATE FUNCTION transfers(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1..jsonb_array_length(input->'moves') LOOP
        PERFORM wf_step('move', 'move',
                        here(input, 'move', i) || jsonb_build_object('source', input->'moves'->(i - 1)->0,
                                                                     'target', input->'moves'->(i - 1)->1),
                        retry => '{"max_attempts": 0, "first_delay": "20 ms", "max_delay": "500 ms", "retry_on": ["40*"]}');
    END LOOP;
    RETURN 'true';
END $$;

CREATE FUNCTION long(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    PERFORM wf_step('first', 'mark', here(input, 'first', 1));
    PERFORM wf_sleep('30 days');
    RETURN 'false';
END $$;

-- A procedure: most steps run in place; those in the block with EXCEPTION, the retries and the waits do not.
-- input: {"steps": 50, "signals": 2}
CREATE PROCEDURE errand(input jsonb, INOUT result jsonb) LANGUAGE plpgsql AS $$
DECLARE
    answer jsonb;
    got    jsonb := '[]';
    undone integer := 0;
BEGIN
    FOR i IN 1..(input->>'steps')::integer LOOP
        IF i % 10 = 5 THEN
            BEGIN
                CALL wf_step('part', 'mark_or_fail', here(input, 'part', i) || '{"share": 0.3}', answer,
                             retry => '{"max_attempts": 1}');
            EXCEPTION WHEN SQLSTATE 'P0042' THEN
                undone := undone + 1;
                CALL wf_step('undo', 'mark', here(input, 'undo', undone), answer);
            END;
        ELSIF i % 10 = 8 THEN
            CALL wf_step('part', 'mark_or_fail', here(input, 'part', i) || '{"share": 0.2}', answer,
                         retry => '{"max_attempts": 0, "first_delay": "10 ms", "max_delay": "100 ms"}');
        ELSE
            CALL wf_step('part', 'mark', here(input, 'part', i), answer);
        END IF;
    END LOOP;
    PERFORM wf_sleep('20 ms');
    FOR i IN 1..(input->>'signals')::integer LOOP
        got := got || wf_wait_signal('go');
        CALL wf_step('after', 'mark', here(input, 'after', i), answer);
    END LOOP;
    result := got;
END $$;

-- --- clients ---------------------------------------------------------------------------------------------------------

CREATE FUNCTION launch(kind text, input jsonb DEFAULT '{}', ends text DEFAULT 'completed', effects integer DEFAULT NULL,
                       result jsonb DEFAULT NULL) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    id text := kind || '-' || nextval('ids');
BEGIN
    PERFORM wf_start(kind, input || jsonb_build_object('id', id), id => id);
    INSERT INTO started (id, kind, ends, effects, result) VALUES (id, kind, ends, effects, result);
    RETURN id;
END $$;

CREATE FUNCTION dice(low integer, high integer) RETURNS integer LANGUAGE sql AS $$
    SELECT low + floor(random() * (high - low + 1))::integer
$$;

-- Sends its signals from the n-th to the second, each twice, as one does who does not know that it has arrived.
CREATE FUNCTION send(id text, first integer) RETURNS void LANGUAGE sql AS $$
    SELECT wf_signal(id, 'go', to_jsonb(n), key => 'go ' || n), wf_signal(id, 'go', to_jsonb(n), key => 'go ' || n)
    FROM generate_series(first, 2) AS n
$$;

-- Two signals for it: both at once, or one, or none, and the rest later.
CREATE FUNCTION send_some(id text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    now_ integer := dice(0, 2);
BEGIN
    IF now_ = 1 THEN
        PERFORM wf_signal(id, 'go', '1', key => 'go 1');
    ELSIF now_ = 2 THEN
        PERFORM send(id, 1);
    END IF;
    IF now_ < 2 THEN
        INSERT INTO todo (id, what, first) VALUES (id, 'signal', now_ + 1);
    END IF;
END $$;

-- Starts one of those that take no process for long.
CREATE FUNCTION act(procedures boolean) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    share float := random();
    steps integer;
    id    text;
BEGIN
    IF share < 0.50 THEN
        RETURN launch('quick', effects => 1, result => '1');
    ELSIF share < 0.65 THEN
        steps := dice(2, 12);
        RETURN launch('several', jsonb_build_object('steps', steps), effects => steps, result => 'true');
    ELSIF share < 0.73 THEN
        RETURN launch('flaky', effects => 2, result => '1');
    ELSIF share < 0.76 THEN
        RETURN launch('fails', '{"caught": true}', effects => 2, result => 'true');
    ELSIF share < 0.78 THEN
        RETURN launch('fails', '{"caught": false}', ends => 'failed', effects => 1);
    ELSIF share < 0.86 THEN
        RETURN launch('naps', jsonb_build_object('naps', jsonb_build_array(dice(1, 20), dice(1, 300), dice(1, 3000))),
                      effects => 3, result => 'true');
    ELSIF share < 0.92 THEN
        id := launch('signalled', effects => 3, result => '[1, 2, true]');
        PERFORM send_some(id);
        RETURN id;
    ELSIF share < 0.95 THEN
        id := launch('cancelled', jsonb_build_object('at', (ARRAY['sleep', 'signal', 'retry'])[dice(1, 3)]), ends => 'cancelled');
        INSERT INTO todo (id, what) VALUES (id, 'cancel');
        RETURN id;
    ELSIF share < 0.96 THEN
        -- Cancelled while it ends.
        id := launch('several', '{"steps": 5}', ends => 'completed|cancelled');
        INSERT INTO todo (due, id, what) VALUES (clock_timestamp(), id, 'cancel');
        RETURN id;
    ELSIF share < 0.985 OR NOT procedures THEN
        RETURN launch('transfers', jsonb_build_object('moves', (
                   SELECT jsonb_agg(jsonb_build_array(source, (source + dice(1, 11)) % 12))
                   FROM (SELECT dice(0, 11) AS source FROM generate_series(1, 3)) AS m)), effects => 3, result => 'true');
    ELSIF share < 0.995 THEN
        id := launch('errand', jsonb_build_object('steps', dice(1, 100), 'signals', 2), result => '[1, 2]');
        PERFORM send_some(id);
        RETURN id;
    ELSE
        id := launch('errand', '{"steps": 200, "signals": 2}', ends => 'cancelled');
        INSERT INTO todo (id, what) VALUES (id, 'cancel');
        RETURN id;
    END IF;
END $$;

-- Starts one that keeps an executor occupied: for a second, or until it is cancelled.
CREATE FUNCTION act_slowly() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    id text;
BEGIN
    IF random() < 0.8 THEN
        RETURN launch('slow', effects => 1, result => '1');
    END IF;
    id := launch('cancelled', '{"at": "step"}', ends => 'cancelled');
    INSERT INTO todo (id, what) VALUES (id, 'cancel');
    RETURN id;
END $$;

-- Sends what is due, or all that there is.
CREATE FUNCTION deliver(everything boolean DEFAULT false) RETURNS integer LANGUAGE plpgsql AS $$
DECLARE
    t    todo;
    sent integer := 0;
BEGIN
    FOR t IN
        WITH due AS (
            DELETE FROM todo
            WHERE ctid = ANY (ARRAY(SELECT d.ctid FROM todo d
                                    WHERE d.owner = current_user::regrole AND (everything OR d.due <= clock_timestamp())
                                    ORDER BY d.due LIMIT CASE WHEN everything THEN 1000 ELSE 5 END FOR UPDATE SKIP LOCKED))
            RETURNING *
        )
        SELECT * FROM due ORDER BY due.due
    LOOP
        IF t.what = 'cancel' THEN
            PERFORM wf_cancel(t.id, 'soak');
        ELSE
            BEGIN
                PERFORM send(t.id, t.first);
            EXCEPTION WHEN object_not_in_prerequisite_state THEN
                -- It has ended, which it should not: the check will say so.
                NULL;
            END;
        END IF;
        sent := sent + 1;
    END LOOP;
    RETURN sent;
END $$;

-- Everybody starts the same id at about the same time.
CREATE FUNCTION race() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    id text := 'race-' || floor(extract(epoch FROM clock_timestamp()) * 5);
BEGIN
    PERFORM wf_start('quick', jsonb_build_object('id', id), id => id,
                     on_conflict => (ARRAY['use_existing', 'fail', 'start_new'])[dice(1, 3)]);
    INSERT INTO started (id, kind, ends) VALUES (id, 'race', 'completed');
EXCEPTION WHEN duplicate_object OR insufficient_privilege THEN
    -- Refused, or the other role's.
    NULL;
END $$;

-- What move does, by a client that takes its time.
CREATE FUNCTION client_moves(source integer, target integer) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    LOOP
        BEGIN
            UPDATE accounts SET balance = balance - 1 WHERE name = source;
            PERFORM pg_sleep(0.04);
            UPDATE accounts SET balance = balance + 1 WHERE name = target;
            RETURN;
        EXCEPTION WHEN deadlock_detected THEN
            NULL;
        END;
    END LOOP;
END $$;

GRANT ALL ON ALL TABLES IN SCHEMA public TO soak_a, soak_b;
GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO soak_a, soak_b;
