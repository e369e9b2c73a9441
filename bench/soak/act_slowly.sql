-- pgbench: starts one that takes an executor's time.
SELECT act_slowly();
