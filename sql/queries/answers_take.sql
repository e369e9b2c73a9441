-- What has come in for a run since a place in the order. $1 run_id, $2 seq of the place
DELETE FROM wf_internal.answers a WHERE a.run_id = $1 AND a.seq > $2
RETURNING a.seq, a.n, a.item, a.status, a.result, a.error
