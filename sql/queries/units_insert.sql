-- Places of a run (n 0, item 0), or of items of a call. Admitted at once where the queue has no limit. $1 queue_id, $2 running,
-- $3 priority, $4 key, $5 run_id, $6 n, $7 first item, $8 last item, $9 now
INSERT INTO wf_internal.task_queue (queued_at, queue_id, running, inside, priority, key, run_id, n, item)
SELECT $9, $1, $2, true, $3, $4, $5, $6, i FROM pg_catalog.generate_series($7, $8) AS i
ON CONFLICT DO NOTHING
