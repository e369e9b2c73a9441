-- Fan-out: one step for each row of a table, several at a time, where some may fail.
--
-- wf_map runs the query once, records its rows, and runs the step for each of them in any executor that is free. A failed
-- item hides no result; with more failures than tolerated the map fails at once.
--
-- Temporal: start an activity for each row, and wait for all of them (asyncio.gather with return_exceptions in Python).
-- DBOS: enqueue a step or workflow for each row on a queue with a concurrency limit, then get_result of each handle.
-- Prefect: bill.map(customers, return_state=True), under a concurrency limit.
--
-- To be run as superuser in a fresh database that has the extension.

\set ON_ERROR_STOP on

CREATE TABLE customers (id integer PRIMARY KEY, name text NOT NULL, address text);
CREATE TABLE usage (customer integer NOT NULL REFERENCES customers, month date NOT NULL, units integer NOT NULL);
CREATE TABLE bills (customer integer NOT NULL, month date NOT NULL, amount numeric NOT NULL, address text NOT NULL);
INSERT INTO customers
    SELECT n, 'customer ' || n, CASE WHEN n % 20 <> 0 THEN n || ' Main Street' END FROM generate_series(1, 60) n;
INSERT INTO usage SELECT n, '2026-03-01', n * 10 FROM generate_series(1, 60) n;

-- Fails for a customer without an address.
CREATE FUNCTION bill(customer integer, month date) RETURNS numeric LANGUAGE sql AS $$
    INSERT INTO bills
        SELECT c.id, u.month, u.units * 0.25, c.address FROM customers c JOIN usage u ON u.customer = c.id
        WHERE c.id = bill.customer AND u.month = bill.month
        RETURNING amount
$$;

CREATE FUNCTION monthly_bills(month date) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    outcomes jsonb;
BEGIN
    outcomes := wf_map('bill', 'bill',
        query => 'SELECT id AS customer, $1->>''month'' AS month FROM customers ORDER BY id',
        input => jsonb_build_object('month', month),
        max_parallel => 4, tolerate => 5);
    RETURN jsonb_build_object(
        'billed', (SELECT count(*) FROM jsonb_array_elements(outcomes) o WHERE (o->>'ok')::boolean),
        'amount', (SELECT sum((o->>'result')::numeric) FROM jsonb_array_elements(outcomes) o),
        'failed', (SELECT jsonb_agg(o#>>'{error,message}') FROM jsonb_array_elements(outcomes) o WHERE NOT (o->>'ok')::boolean));
END $$;

SELECT wf_start('monthly_bills', '{"month": "2026-03-01"}', id => 'bills-2026-03');
SELECT jsonb_pretty(wf_result('bills-2026-03', wait => '30 s'));

-- Those that failed, to be looked after:
SELECT input->>'customer' AS customer, error FROM wf.branches WHERE id = 'bills-2026-03' AND status = 'failed' ORDER BY item;

DO $$
DECLARE
    result jsonb := wf_result('bills-2026-03');
BEGIN
    ASSERT (result->>'billed')::integer = 57, 'all but three are billed';
    ASSERT jsonb_array_length(result->'failed') = 3, 'three have no address';
    ASSERT (SELECT count(*) FROM bills) = 57, 'one bill each';
    ASSERT (SELECT count(DISTINCT customer) FROM bills) = 57, 'one bill each';
    ASSERT (result->>'amount')::numeric = (SELECT sum(amount) FROM bills), 'the sum is right';
END $$;
