-- A call is answered by hand. $1 run_id, $2 n, $3 result, $4 finished_at
WITH timer AS (
    DELETE FROM wf_internal.timers t USING wf_internal.steps s
    WHERE s.run_id = $1 AND s.n = $2 AND t.due_at = s.due_at AND t.run_id = $1 AND t.n = $2 AND t.item = 0
), wait AS (
    DELETE FROM wf_internal.waits w WHERE w.run_id = $1 AND w.n = $2
)
UPDATE wf_internal.steps SET status = 'completed', result = $3, error = NULL, due_at = NULL, finished_at = $4
WHERE run_id = $1 AND n = $2
