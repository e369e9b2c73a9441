-- Waits for those who write entries of a role, and has them leave it until the transaction ends. $1 owner
SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('pg_workflow cache ' || $1::text, 0)) IS NULL
