-- What a run stands at comes to nothing with it, and so do the timers of what was waited for. A begun wait keeps its time, for
-- a run that is opened again. $1 run_id, $2 finished_at
WITH open AS (
    SELECT s.run_id, s.n, s.due_at FROM wf_internal.steps s WHERE s.run_id = $1 AND s.status IN ('waiting', 'retrying')
), timers AS (
    DELETE FROM wf_internal.timers t USING open o WHERE t.due_at = o.due_at AND t.run_id = o.run_id AND t.n = o.n AND t.item = 0
), waits AS (
    DELETE FROM wf_internal.waits w WHERE w.run_id = $1
)
UPDATE wf_internal.steps s SET status = 'cancelled', finished_at = $2, due_at = CASE WHEN s.begun THEN s.due_at END
FROM open o WHERE s.run_id = o.run_id AND s.n = o.n
