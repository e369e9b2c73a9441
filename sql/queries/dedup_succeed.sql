-- The call that was first to join a task gets one of its own, which has the key from now on. $1 queue_id, $2 key
WITH next AS (
    DELETE FROM wf_internal.joined j
    WHERE (j.run_id, j.n) = (SELECT f.run_id, f.n FROM wf_internal.joined f WHERE f.queue_id = $1 AND f.key = $2
                             ORDER BY f.queue_id, f.key, f.seq LIMIT 1)
    RETURNING j.run_id, j.n, j.priority
)
UPDATE wf_internal.dedup d SET run_id = j.run_id, n = j.n, joined = d.joined - 1
FROM next j WHERE d.queue_id = $1 AND NOT d.inside AND d.key = $2
RETURNING d.run_id, d.n, j.priority
