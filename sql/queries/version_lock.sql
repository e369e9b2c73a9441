-- Held until the transaction ends.
SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('pg_workflow versions', 0)) IS NULL
