-- $1 run_id, $2 n, $3 item
SELECT q.running FROM wf_internal.task_queue q WHERE q.inside AND q.run_id = $1 AND q.n = $2 AND q.item = $3
