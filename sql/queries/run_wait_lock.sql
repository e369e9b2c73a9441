-- Locks a run that no step is running in; waits for a process that has it for a moment. $1 run_id
SELECT true FROM wf_internal.runs r WHERE r.run_id = $1 FOR NO KEY UPDATE
