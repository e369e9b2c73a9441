-- pgbench: one workflow from start to result, as its client sees it: two commits and a wake-up.
SELECT wf_start('one_step', '{"n": 1}') AS id \gset
SELECT wf_result(:id, '10 s');
