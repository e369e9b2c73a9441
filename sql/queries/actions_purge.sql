-- What was done before a time to instances that are not there any more, the oldest first. $1 before, $2 how many
DELETE FROM wf_internal.actions a
WHERE a.seq = ANY (ARRAY(
    SELECT o.seq FROM wf_internal.actions o
    WHERE o.at < $1 AND (o.run_id IS NULL OR NOT EXISTS (SELECT FROM wf_internal.runs r WHERE r.run_id = o.run_id))
    ORDER BY o.seq
    LIMIT $2))
