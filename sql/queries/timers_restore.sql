-- Sets the timers again of what runs wait for, where they are gone. One that a turn is about to delete is there: nobody is
-- waited for. $1 run ids, $2 due behind
INSERT INTO wf_internal.timers (due_at, run_id, n, owner, priority, item)
SELECT w.due_at, r.run_id, w.n, r.owner, r.priority, w.item
FROM wf_internal.runs r
CROSS JOIN LATERAL (
    SELECT r.deadline, 0, 0 WHERE r.status <> 'compensating'
    UNION ALL
    SELECT r.start_at, -1, 0 WHERE r.status = 'pending'
    UNION ALL
    SELECT s.due_at, s.n, 0 FROM wf_internal.steps s WHERE s.run_id = r.run_id AND s.status IN ('waiting', 'retrying')
    UNION ALL
    SELECT b.due_at, b.n, b.item FROM wf_internal.branches b WHERE b.run_id = r.run_id AND b.status = 'retrying'
) AS w (due_at, n, item)
WHERE r.run_id = ANY ($1) AND r.finished_at IS NULL AND w.due_at > $2
  AND NOT EXISTS (SELECT FROM wf_internal.timers t
                  WHERE t.due_at = w.due_at AND t.run_id = r.run_id AND t.n = w.n AND t.item = w.item)
ON CONFLICT DO NOTHING
RETURNING due_at
