-- Has the run undone what it had done? $1 run_id
SELECT true FROM wf_internal.runs r WHERE r.run_id = $1 AND r.error ? 'compensated'
