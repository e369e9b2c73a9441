-- The yardstick: a queue of messages in nothing but SQL, as pgmq has it. Who reads a message hides it from others for a time;
-- who has done it deletes it, or moves it to the archive.

CREATE SCHEMA plain;

CREATE TABLE plain.queue (
    msg_id      bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    read_ct     integer     NOT NULL DEFAULT 0,
    enqueued_at timestamptz NOT NULL DEFAULT now(),
    vt          timestamptz NOT NULL,           -- hidden until then
    message     jsonb
);
CREATE INDEX ON plain.queue (vt);

CREATE TABLE plain.archive (
    msg_id      bigint      PRIMARY KEY,
    read_ct     integer     NOT NULL,
    enqueued_at timestamptz NOT NULL,
    archived_at timestamptz NOT NULL DEFAULT now(),
    vt          timestamptz NOT NULL,
    message     jsonb
);
CREATE INDEX ON plain.archive (archived_at);

CREATE FUNCTION plain.fill(messages integer) RETURNS void LANGUAGE sql AS $$
    INSERT INTO plain.queue (vt, message)
    SELECT clock_timestamp(), jsonb_build_object('n', n, 'tenant', NULL) FROM generate_series(1, messages) AS n
$$;

-- An array, so that rows are found by the primary key however many the planner expects.
CREATE FUNCTION plain.read(lease interval, quantity integer) RETURNS SETOF plain.queue LANGUAGE sql AS $$
    UPDATE plain.queue SET vt = clock_timestamp() + lease, read_ct = read_ct + 1
    WHERE msg_id = ANY (ARRAY(SELECT msg_id FROM plain.queue
                              WHERE vt <= clock_timestamp()
                              ORDER BY msg_id
                              LIMIT quantity
                              FOR UPDATE SKIP LOCKED))
    RETURNING *
$$;

CREATE FUNCTION plain.delete(ids bigint[]) RETURNS bigint LANGUAGE sql AS $$
    WITH gone AS (DELETE FROM plain.queue WHERE msg_id = ANY (ids) RETURNING msg_id)
    SELECT count(*) FROM gone
$$;

CREATE FUNCTION plain.archive(ids bigint[]) RETURNS bigint LANGUAGE sql AS $$
    WITH gone AS (DELETE FROM plain.queue WHERE msg_id = ANY (ids) RETURNING *),
         kept AS (INSERT INTO plain.archive (msg_id, read_ct, enqueued_at, vt, message)
                  SELECT msg_id, read_ct, enqueued_at, vt, message FROM gone RETURNING msg_id)
    SELECT count(*) FROM kept
$$;
