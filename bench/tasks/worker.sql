-- A worker that is killed: what it has claimed is committed before it works, and its effect is in the transaction of the
-- result. The result is the attempt.
CALL wf_poll('soak', '1 s', NULL, worker => :who, max => :max, lease => '5 s') \gset
\sleep :work ms
INSERT INTO effects (call, attempt, worker)
SELECT t->>'idempotency_key', (t->>'attempt')::integer, :who
FROM wf_complete((SELECT coalesce(jsonb_agg(jsonb_build_object('task', t->'task', 'result', t->'attempt')), '[]')
                  FROM jsonb_array_elements(:result::jsonb) AS t)) AS c
JOIN jsonb_array_elements(:result::jsonb) AS t ON t->>'task' = c.task
WHERE c.outcome = 'completed';
