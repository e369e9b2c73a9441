-- Takes a branch back whose command has ended, waiting for whoever has it for a moment; nothing if it is not the same attempt
-- any more. $1 run_id, $2 n, $3 item
SELECT true FROM wf_internal.branches b
WHERE b.run_id = $1 AND b.n = $2 AND b.item = $3 AND b.status = 'running'
FOR NO KEY UPDATE
