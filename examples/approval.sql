-- Human approval: ask, remind, escalate, and decide by default when nobody answers.
--
-- A wait for a person says what it asks (prompt), what an answer must look like (schema), and what counts without one
-- (default). While it is open it stands in the view wf.waiting with the call that answers it, and costs some rows.
--
-- Temporal: a signal or update handler with a validator, and workflow.wait_condition with a timeout.
-- DBOS: DBOS.recv with a topic and a timeout.
-- Prefect: pause_flow_run or suspend_flow_run with wait_for_input and a timeout.
--
-- To be run as superuser in a fresh database that has the extension.

\set ON_ERROR_STOP on

CREATE TABLE mails (id bigint GENERATED ALWAYS AS IDENTITY, recipient text NOT NULL, body text NOT NULL);
CREATE FUNCTION mail(recipient text, body text) RETURNS void LANGUAGE sql AS $$
    INSERT INTO mails (recipient, body) VALUES (recipient, body)
$$;

CREATE FUNCTION expense(what text, amount numeric, patience interval) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    question constant text := format('%s for %s. Approve?', what, amount);
    form     constant jsonb := '{
        "type": "object", "required": ["ok"], "properties": {"ok": {"type": "boolean"}, "by": {"type": "string"}}
    }';
    answer   jsonb;
    done     jsonb;
BEGIN
    -- The clerk is asked.
    PERFORM wf_step('ask', 'mail', jsonb_build_object('recipient', 'clerk', 'body', question));
    answer := wf_wait_signal('clerk', timeout => patience, prompt => question, schema => form);

    -- The clerk is reminded, the manager is asked too: the first answer of the two counts.
    IF answer IS NULL THEN
        PERFORM wf_step('remind', 'mail', jsonb_build_object('recipient', 'clerk', 'body', 'Reminder: ' || question));
        PERFORM wf_step('escalate', 'mail', jsonb_build_object('recipient', 'manager', 'body', question));
        done := wf_await(ARRAY[wf_begin('reminded', signal => 'clerk'), wf_begin('manager', signal => 'manager')],
                         first => 1, timeout => patience);
        answer := done->0->'result';
    END IF;

    -- The director decides, or else it is a no.
    IF answer IS NULL THEN
        answer := wf_wait_signal('director', timeout => patience, prompt => question, schema => form,
                                 "default" => '{"ok": false, "by": "nobody"}');
    END IF;
    RETURN answer;
END $$;

-- The first is answered by the clerk; what does not fit the form is set aside. The second is left to the manager, the third to
-- nobody.
BEGIN;
SELECT wf_start('expense', '{"what": "A lamp", "amount": 30, "patience": "1 day"}', id => 'expense-1');
SELECT wf_signal('expense-1', 'clerk', '"yes"'), wf_signal('expense-1', 'clerk', '{"ok": true, "by": "ann"}');
SELECT wf_start('expense', '{"what": "A desk", "amount": 900, "patience": "0.2 s"}', id => 'expense-2');
SELECT wf_signal('expense-2', 'manager', '{"ok": true, "by": "bob"}'); -- early: kept until somebody waits for it
SELECT wf_start('expense', '{"what": "A boat", "amount": 90000, "patience": "0.2 s"}', id => 'expense-3');
COMMIT;

DO $$
BEGIN
    ASSERT wf_result('expense-1', wait => '30 s') = '{"ok": true, "by": "ann"}';
    ASSERT wf_result('expense-2', wait => '30 s') = '{"ok": true, "by": "bob"}';
    ASSERT wf_result('expense-3', wait => '30 s') = '{"ok": false, "by": "nobody"}';
    ASSERT (SELECT refused IS NOT NULL FROM wf.signals WHERE id = 'expense-1' AND payload = '"yes"'),
        'what did not fit was set aside';
    ASSERT (SELECT count(*) FROM mails WHERE recipient = 'clerk' AND body LIKE 'Reminder%') = 2, 'two reminders';
    ASSERT (SELECT count(*) FROM mails WHERE recipient = 'manager') = 2, 'two escalations';
    ASSERT NOT EXISTS (SELECT FROM wf.waiting), 'nobody is waited for any more';
END $$;

SELECT id, name, kind, status, result FROM wf.steps WHERE workflow = 'expense' ORDER BY id, n;
SELECT recipient, body FROM mails ORDER BY id;
