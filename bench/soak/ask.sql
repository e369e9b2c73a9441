-- pgbench: a client that waits for the result.
SELECT launch('quick', effects => 1, result => '1') AS id \gset
SELECT wf_result(:id, '30 s');
SELECT status, result FROM wf.workflows WHERE id = :id;
