-- pgbench: starts, signals and cancels that have not taken place.
BEGIN;
SELECT act(:procedures = 1);
SELECT act_slowly();
SELECT deliver();
ROLLBACK;
