-- $1 at, $2 by, $3 owner, $4 action, $5 run_id, $6 id, $7 reason, $8 detail
INSERT INTO wf_internal.actions (at, run_id, by, owner, action, id, reason, detail)
VALUES ($1, $5, $2, $3, $4, $6, $7, $8)
