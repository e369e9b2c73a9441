-- Subscription billing over years: a trial, a charge a month, dunning, a cancellation. Tested in simulated time.
--
-- An instance is a subscription: it sleeps for a month at a time, and takes a signal when the customer leaves. wf_test runs it
-- on a simulated clock, in which months take no time, and takes everything back.
--
-- Temporal: workflow.sleep or wait_condition with a timeout, tested in the time-skipping test environment.
-- DBOS: DBOS.recv with a timeout in a loop.
-- Prefect: a flow run a month by a schedule, with the state in a table.
--
-- To be run as superuser in a fresh database that has the extension.

\set ON_ERROR_STOP on

CREATE TABLE charges (customer text NOT NULL, at timestamptz NOT NULL, amount numeric NOT NULL);
CREATE TABLE suspended (customer text PRIMARY KEY);

-- In earnest this would call a payment service, with the month as the idempotency key.
CREATE FUNCTION charge(customer text, at timestamptz, amount numeric) RETURNS void LANGUAGE sql AS $$
    INSERT INTO charges VALUES (customer, at, amount)
$$;

CREATE FUNCTION subscription(customer text, price numeric) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    charged integer := 0;
BEGIN
    -- Who leaves during the trial pays nothing.
    IF wf_wait_signal('leave', timeout => '14 days') IS NOT NULL THEN
        RETURN '{"status": "left in the trial"}';
    END IF;
    LOOP
        BEGIN
            PERFORM wf_step('charge', 'charge', jsonb_build_object('customer', customer, 'at', wf_now(), 'amount', price),
                retry => '{"max_attempts": 4, "first_delay": "3 days", "backoff": 1, "jitter": 0, "retry_on": ["P0402"]}');
        EXCEPTION WHEN SQLSTATE 'P0402' THEN -- four times in nine days
            PERFORM wf_step('suspend', 'INSERT INTO suspended VALUES ($1->>0)', jsonb_build_array(customer));
            RETURN jsonb_build_object('status', 'suspended', 'charged', charged);
        END;
        charged := charged + 1;
        PERFORM wf_set('charged', to_jsonb(charged));
        IF wf_wait_signal('leave', timeout => '1 month') IS NOT NULL THEN
            RETURN jsonb_build_object('status', 'left', 'charged', charged);
        END IF;
    END LOOP;
END $$;

DO $$
DECLARE
    input constant jsonb := '{"customer": "ann", "price": 9.90}';
    t     jsonb;
BEGIN
    -- Two years: a charge on the 15th of each month, from the end of the trial on.
    t := wf_test('subscription', input, starts_at => '2026-01-01 00:00+00',
                 signals => '[{"name": "leave", "after": "2 years"}]');
    ASSERT t->'result' = '{"status": "left", "charged": 24}', t->'result';
    ASSERT t->'values' = '{"charged": 24}', t->'values';

    -- Left in the trial: nothing is charged.
    t := wf_test('subscription', input, signals => '[{"name": "leave", "after": "13 days"}]');
    ASSERT t->'result' = '{"status": "left in the trial"}', t->'result';
    ASSERT NOT jsonb_path_exists(t, '$.steps[*] ? (@.name == "charge")'), t->'steps';

    -- A card that is declined twice in the third month, and then works: the next month counts from there.
    t := wf_test('subscription', input, signals => '[{"name": "leave", "after": "100 days"}]',
                 mocks => '{"charge": [null, null, {"fail": {"sqlstate": "P0402", "message": "declined"}, "times": 2}]}');
    ASSERT t->'result' = '{"status": "left", "charged": 3}', t->'result';
    ASSERT jsonb_path_query_array(t, '$.steps[*] ? (@.name == "charge").attempt') = '[1, 1, 3]', t->'steps';

    -- One that is declined for good: suspended nine days later.
    t := wf_test('subscription', input, mocks => '{"charge": [null, {"fail": {"sqlstate": "P0402", "message": "declined"}}]}');
    ASSERT t->'result' = '{"status": "suspended", "charged": 1}', t->'result';

    ASSERT (SELECT count(*) FROM charges) + (SELECT count(*) FROM suspended) + (SELECT count(*) FROM wf.workflows) = 0,
        'nothing of it has happened';
END $$;

-- And in earnest: it waits for the end of the trial.
BEGIN;
SELECT wf_start('subscription', '{"customer": "bob", "price": 9.90}', id => 'subscription-bob');
SELECT wf_signal('subscription-bob', 'leave');
COMMIT;
SELECT wf_result('subscription-bob', wait => '30 s');
DO $$ BEGIN
    ASSERT wf_result('subscription-bob') = '{"status": "left in the trial"}';
    ASSERT NOT EXISTS (SELECT FROM charges), 'bob has not paid';
END $$;
