-- pgbench: the yardstick for whatever commits once.
INSERT INTO plain (n) VALUES (1);
