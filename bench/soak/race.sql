-- pgbench: starts an id that others start too.
SELECT race();
