-- pgbench: locks rows that steps lock.
\set source random(0, 11)
\set target (:source + random(1, 11)) % 12
SELECT client_moves(:source, :target);
