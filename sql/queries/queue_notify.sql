-- For workers that LISTEN, of queues that were made so: the server does one such commit at a time. $1 name
SELECT pg_catalog.pg_notify('pg_workflow', $1)
