-- A signal that was taken and did not fit. $1 run_id, $2 seq, $3 reason
UPDATE wf_internal.signals g SET refused = $3 WHERE g.run_id = $1 AND g.seq = $2
