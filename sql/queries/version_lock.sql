-- Held until the transaction ends. $1 digest of the source
SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('pg_workflow version ' || $1, 0)) IS NULL
