-- pgbench: a transaction that stays open behind its starts, signals and cancels.
BEGIN;
SET LOCAL soak.held = 'yes';
SELECT act(:procedures = 1);
SELECT deliver();
\sleep 300 ms
COMMIT;
