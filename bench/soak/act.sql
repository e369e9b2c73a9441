-- pgbench: starts one of most kinds.
SELECT act(:procedures = 1);
