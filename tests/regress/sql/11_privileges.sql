-- Who sees what and may do what.
CREATE ROLE regress_ada LOGIN;
CREATE ROLE regress_bob LOGIN;
CREATE ROLE regress_boss LOGIN IN ROLE regress_ada;
CREATE ROLE regress_group NOLOGIN;
GRANT CREATE ON SCHEMA public TO regress_ada, regress_bob, regress_group;
CREATE FUNCTION until(id text, status text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1..1000 LOOP
        EXIT WHEN wf_status(id) = status;
        PERFORM pg_sleep(0.01);
    END LOOP;
    RETURN wf_status(id);
END $$;

SET ROLE regress_ada;
CREATE FUNCTION who(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    PERFORM wf_set('progress', '1');
    RETURN jsonb_build_array(current_user, session_user,
                             wf_step('who', 'SELECT current_user AS current, session_user AS session'), wf_wait_signal('go'));
END $$;
CREATE FUNCTION private(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN '"private"'; END $$;
REVOKE ALL ON FUNCTION private(jsonb) FROM PUBLIC;
SELECT wf_start('who', id => 'ada-1');
SELECT until('ada-1', 'waiting');
RESET ROLE;
SET ROLE regress_bob;
SELECT wf_start('who', id => 'bob-1');
SELECT until('bob-1', 'waiting');

-- Bob sees his own, and nothing of Ada's.
SELECT id, owner FROM wf.workflows ORDER BY id;
SELECT DISTINCT id FROM wf.steps;
SELECT wf_status('ada-1');
\echo :SQLSTATE
SELECT wf_result('ada-1');
SELECT wf_get('ada-1');
SELECT wf_get('ada-1', 'progress');
SELECT wf_signal('ada-1', 'go');
SELECT wf_cancel('ada-1');
SELECT wf_start('who', id => 'ada-1');
SELECT wf_start('who', id => 'ada-1', on_conflict => 'start_new');
-- A function in a query of his does not get to see other people's rows.
CREATE FUNCTION peek(text) RETURNS bool LANGUAGE plpgsql COST 0.0000001 AS $$ BEGIN RAISE NOTICE 'saw %', $1; RETURN true; END $$;
SELECT count(*) FROM wf.workflows WHERE peek(id);
-- What he may not call he cannot start, whatever name it goes by.
SELECT wf_start('private');
\echo :SQLSTATE
SELECT wf_define('mine', 'private');
\echo :SQLSTATE
-- The tables are nobody's to touch.
SELECT count(*) FROM wf_internal.runs;
\echo :SQLSTATE
DELETE FROM wf_internal.ready;
SELECT wf_internal.announce();
SELECT wf_internal.facts();
SELECT wf_adopt();
\echo :SQLSTATE
CREATE TABLE wf_versions.mine (n int);
CREATE TABLE wf.mine (n int);
INSERT INTO wf.workflows (id) VALUES ('x');
-- But all of the views can be read.
SELECT count(*) >= 0 AS readable FROM wf.workers;
SELECT count(*) FROM wf.workflows;
SELECT count(*) > 0 AS readable FROM wf.steps;
SELECT count(*) FROM wf.signals;
SELECT count(*) > 0 AS readable FROM wf.definitions;
SELECT count(*) > 0 AS readable FROM wf_health();
SET pg_workflow.max_payload = '1GB';
RESET ROLE;

-- Ada's boss has her privileges.
SET ROLE regress_boss;
SELECT id, owner FROM wf.workflows ORDER BY id;
SELECT wf_status('ada-1');
SELECT wf_signal('ada-1', 'go', '"from the boss"');
SELECT wf_result('ada-1', wait => '10 s');
SELECT id, name, payload, sent_by FROM wf.signals;
SELECT wf_result('bob-1');
RESET ROLE;
-- And so has a superuser.
SELECT wf_signal('bob-1', 'go');
SELECT wf_result('bob-1', wait => '10 s');
SELECT id, owner FROM wf.workflows ORDER BY id;

-- SET ROLE counts, as everywhere; a role that cannot log in cannot own instances.
SET ROLE regress_group;
SELECT wf_start('who', id => 'group-1');
\echo :SQLSTATE
RESET ROLE;
-- A SECURITY DEFINER function starts as its owner.
SET ROLE regress_ada;
CREATE FUNCTION starts_private() RETURNS text LANGUAGE sql SECURITY DEFINER AS $$ SELECT wf_start('private', id => 'private-1') $$;
SET ROLE regress_bob;
SELECT starts_private();
SELECT wf_status('private-1');
RESET ROLE;
SELECT wf_result('private-1', wait => '10 s'), (SELECT owner FROM wf.workflows WHERE id = 'private-1');
-- A workflow that is itself SECURITY DEFINER decides as its owner; its steps act as the role that started it.
SET ROLE regress_ada;
CREATE FUNCTION definer(input jsonb) RETURNS jsonb LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    RETURN jsonb_build_array(current_user, wf_step('who', 'SELECT current_user'));
END $$;
SET ROLE regress_bob;
SELECT wf_start('definer', id => 'definer-1');
SELECT wf_result('definer-1', wait => '10 s');
RESET ROLE;

-- A name given by a stranger is not found; one's own and a superuser's are.
SET ROLE regress_ada;
SELECT wf_define('ada_flow', 'who');
SET ROLE regress_boss;
SELECT wf_start('ada_flow', id => 'boss-1');
SET ROLE regress_bob;
SELECT wf_start('ada_flow');
SELECT wf_undefine('ada_flow');
RESET ROLE;
SELECT wf_define('everyones', 'who');
SET ROLE regress_bob;
SELECT wf_start('everyones', id => 'bob-2');
SELECT wf_undefine('everyones');
-- A privilege taken away in flight is gone, as it is for any other call.
SELECT until('bob-2', 'waiting');
RESET ROLE;
REVOKE ALL ON FUNCTION who(jsonb) FROM PUBLIC;
SELECT wf_signal('bob-2', 'go');
SELECT wf_result('bob-2', wait => '10 s');
SET ROLE regress_bob;
SELECT wf_start('who', id => 'bob-3');
RESET ROLE;
-- SET ROLE in a step does not outlast it, and gives nothing that its owner has not.
CREATE FUNCTION changes_role(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    r jsonb;
BEGIN
    BEGIN
        PERFORM wf_step('become', 'SET ROLE postgres');
    EXCEPTION WHEN insufficient_privilege THEN
        r := to_jsonb(SQLERRM);
    END;
    BEGIN
        PERFORM wf_step('authorize', 'SET SESSION AUTHORIZATION postgres');
    EXCEPTION WHEN insufficient_privilege THEN
        r := jsonb_build_array(r, SQLERRM);
    END;
    PERFORM wf_step('reset', 'RESET ROLE');
    PERFORM wf_step('reset', 'RESET SESSION AUTHORIZATION');
    RETURN r || wf_step('who', 'SELECT current_user');
END $$;
SET ROLE regress_bob;
SELECT wf_start('changes_role', id => 'role-1');
SELECT wf_result('role-1', wait => '10 s');
RESET ROLE;
