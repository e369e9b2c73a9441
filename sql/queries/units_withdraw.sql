-- Steps of a call that is not waited for any more, and wait for their turn in a queue. $1 run_id, $2 n or NULL: of all calls
DELETE FROM wf_internal.task_queue w
WHERE w.ctid = ANY (ARRAY(SELECT l.ctid FROM wf_internal.task_queue l
                          WHERE l.inside AND l.run_id = $1 AND l.n = coalesce($2, l.n) AND l.n > 0 AND NOT l.running
                          FOR UPDATE SKIP LOCKED))
