-- pgbench: sends signals and cancels that are due.
SELECT deliver();
