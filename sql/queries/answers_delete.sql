-- What a call has come to is given anew. $1 run_id, $2 n
DELETE FROM wf_internal.answers a WHERE a.run_id = $1 AND a.n = $2
