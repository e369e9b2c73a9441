-- $1 owner, $2 name
SELECT q.queue_id FROM wf_internal.queues q WHERE q.name = $2 AND q.owner = $1::oid
