-- Definitions that are not of the newest version of their workflow. Still in doubt: a transaction is running that may have
-- found it before it was retired.
SELECT d.def_id, d.created_at, d.retired_among IS NOT NULL,
       EXISTS (SELECT FROM pg_catalog.pg_locks l
               WHERE l.locktype = 'virtualxid' AND l.pid <> pg_catalog.pg_backend_pid() AND l.virtualxid = ANY (d.retired_among))
FROM wf_internal.definitions d
WHERE d.version < (SELECT pg_catalog.max(m.version) FROM wf_internal.definitions m WHERE m.workflow = d.workflow)
ORDER BY d.def_id
