-- A run that has ended goes on. A deadline that has passed is set anew, at the same distance; start_at is from where it
-- counts. $1 run_id, $2 now
UPDATE wf_internal.runs r
SET status = 'running', finished_at = NULL, result = NULL, error = NULL,
    deadline = CASE WHEN r.deadline <= $2 THEN $2 + (r.deadline - coalesce(r.start_at, r.created_at)) ELSE r.deadline END,
    start_at = CASE WHEN r.deadline <= $2 THEN $2 ELSE r.start_at END
WHERE r.run_id = $1
RETURNING r.deadline
