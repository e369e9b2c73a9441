-- The first instance of a fresh installation makes the database its home. In a copy home is taken already, and stays so.
INSERT INTO wf_internal.home (installation, database)
SELECT i.id, d.oid::text FROM wf_internal.installation i, pg_catalog.pg_database d
WHERE d.datname = pg_catalog.current_database() AND NOT EXISTS (SELECT FROM wf_internal.home)
