-- Workflows without an end: the next run of the id goes on.
-- Whether an error's context names the expression depends on how steps share transactions.
\set SHOW_CONTEXT never
CREATE TABLE seen (run int, what text);
CREATE FUNCTION rounds(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE n int := (input->>'n')::int; said jsonb;
BEGIN
    said := wf_wait_signal('say');
    PERFORM wf_step('note', $sql$ INSERT INTO seen VALUES (($1->>'n')::int, $1->>'said') $sql$, jsonb_build_object('n', n, 'said', said));
    IF said = '"stop"' THEN RETURN jsonb_build_object('rounds', n); END IF;
    RETURN wf_continue_as_new(jsonb_build_object('n', n + 1));
END $$;
SELECT wf_start('rounds', '{"n": 1}', id => 'r');
SELECT count(wf_signal('r', 'say', to_jsonb(w))) FROM unnest('{a,b,c,stop}'::text[]) w;
SELECT wf_result('r', wait => '10 s');
SELECT run, what FROM seen ORDER BY run;
SELECT id, run, status, input, result FROM wf.workflows WHERE id = 'r' ORDER BY run;

-- On the newest code.
CREATE FUNCTION renewed(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    PERFORM wf_wait_signal('go');
    RETURN wf_continue_as_new('{"from": "old"}');
END $$;
SELECT wf_start('renewed', id => 'new');
DO $$ BEGIN FOR i IN 1..1000 LOOP EXIT WHEN wf_status('new') = 'waiting'; PERFORM pg_sleep(0.01); END LOOP; END $$;
CREATE OR REPLACE FUNCTION renewed(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN input || '{"in": "new"}'; END $$;
SELECT wf_signal('new', 'go');
SELECT wf_result('new', wait => '10 s');

-- As a child: its parent waits for the last run.
CREATE FUNCTION counts(n int) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    IF n = 3 THEN RETURN '"counted"'; END IF;
    RETURN wf_continue_as_new(jsonb_build_object('n', n + 1));
END $$;
CREATE FUNCTION waits_for(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN wf_call('counts', 'counts', '{"n": 1}'); END $$;
SELECT wf_start('waits_for', id => 'w');
SELECT wf_result('w', wait => '10 s');

-- What does not fit is the function's error.
CREATE FUNCTION misfit(n int) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN wf_continue_as_new('{"m": 1}'); END $$;
SELECT wf_start('misfit', '{"n": 1}', id => 'm');
SELECT wf_result('m', wait => '10 s');
SELECT wf_continue_as_new('{}');
