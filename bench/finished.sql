-- :chunk workflows of :all that finished in the 90 days until yesterday, one step each, behind the first :done. As superuser.
WITH past AS MATERIALIZED (
    SELECT g AS n, now() - interval '91 days' + g * interval '90 days' / :all AS at
    FROM generate_series(:done + 1, :done + :chunk) AS g
), run AS (
    INSERT INTO wf_internal.runs (created_at, started_at, finished_at, run_id, seq, def_id, owner, priority, depth, status, id,
                                  input, result)
    SELECT p.at, p.at + interval '1 ms', p.at + interval '2 ms', i.run_id, 1, d.def_id, 'bench'::regrole, 0, 0, 'completed',
           i.run_id::text, jsonb_build_object('n', p.n), '1'
    FROM past p,
         (SELECT max(def_id) AS def_id FROM wf_internal.definitions WHERE workflow = 'one_step') AS d,
         -- UUIDv7, as the extension makes them.
         LATERAL (SELECT (lpad(to_hex((extract(epoch FROM p.at) * 1000)::bigint), 12, '0') || '7' ||
                          lpad(to_hex(p.n % 4096), 3, '0') || '8' || left(md5(p.n::text || random()), 15))::uuid) AS i (run_id)
    RETURNING started_at, finished_at, run_id
)
INSERT INTO wf_internal.steps (started_at, finished_at, run_id, n, occurrence, attempt, begun, kind, status, name, result)
SELECT started_at, finished_at, run_id, 1, 1, 1, false, 'step', 'completed', 'add', '1' FROM run;
