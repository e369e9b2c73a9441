-- pgbench: what a start adds to a commit, with nobody working on it.
SELECT wf_start('one_step', '{"n": 1}', delay => '1 day');
