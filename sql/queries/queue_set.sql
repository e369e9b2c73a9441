-- What is NULL stays; 0 takes a limit away. A rate is a second's, unless said. A new rate begins with a full bucket. $1 queue_id, $2 max_running, $3 rate, $4 per,
-- $5 paused, $6 workers, $7 now, $8 max_running_per_key, $9 max_backlog, $10 drops_oldest, $11 notifies
UPDATE wf_internal.queues q SET
    max_running = CASE WHEN $2 IS NULL THEN q.max_running ELSE nullif($2, 0) END,
    max_running_per_key = CASE WHEN $8 IS NULL THEN q.max_running_per_key ELSE nullif($8, 0) END,
    max_backlog = CASE WHEN $9 IS NULL THEN q.max_backlog ELSE nullif($9, 0) END,
    drops_oldest = coalesce($10, q.drops_oldest),
    rate = CASE WHEN $3 IS NULL THEN q.rate ELSE nullif($3, 0) END,
    per = CASE WHEN $3 = 0 THEN NULL ELSE coalesce($4, q.per, CASE WHEN $3 IS NOT NULL THEN 1000000 END) END,
    tokens = CASE WHEN $3 IS NULL THEN q.tokens ELSE nullif($3, 0) END,
    filled_at = CASE WHEN $3 IS NULL THEN q.filled_at ELSE $7 END,
    paused = coalesce($5, q.paused),
    notifies = coalesce($11, q.notifies),
    workers = coalesce($6::pg_catalog.regrole[], q.workers)
WHERE q.queue_id = $1
