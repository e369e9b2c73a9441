-- Child workflows: an ETL whose tables are loaded by workflows of their own.
--
-- Customers first, because the others refer to them. Then payments and orders side by side, each an instance that can be
-- looked at, waited for and cancelled by itself: orders of each region are again children. When all have ended, one step
-- publishes. What a child cannot load it keeps aside, and says so in its result.
--
-- Temporal: workflow.execute_child_workflow and start_child_workflow.
-- DBOS: calling a workflow from a workflow, or DBOS.start_workflow and the handle's get_result.
-- Prefect: calling a flow from a flow (a nested flow).
--
-- To be run as superuser in a fresh database that has the extension.

\set ON_ERROR_STOP on

CREATE TABLE raw (source text NOT NULL, region text, doc jsonb NOT NULL);
INSERT INTO raw SELECT 'customers', NULL, jsonb_build_object('id', n, 'name', 'customer ' || n) FROM generate_series(1, 30) n;
INSERT INTO raw
    SELECT 'orders', (ARRAY['north', 'south', 'west'])[1 + n % 3],
           jsonb_build_object('id', n, 'customer', n % 31, 'amount', n) -- customer 0 does not exist
    FROM generate_series(1, 300) n;
INSERT INTO raw SELECT 'payments', NULL, jsonb_build_object('order', n, 'amount', n) FROM generate_series(1, 300, 2) n;

CREATE TABLE customers (id integer PRIMARY KEY, name text NOT NULL);
CREATE TABLE orders (
    id       integer PRIMARY KEY,
    region   text    NOT NULL,
    customer integer NOT NULL REFERENCES customers,
    amount   numeric NOT NULL
);
CREATE TABLE payments (order_id integer PRIMARY KEY, amount numeric NOT NULL);
CREATE TABLE rejected (source text NOT NULL, doc jsonb NOT NULL);
CREATE TABLE published (customers bigint, orders bigint, payments bigint, rejected bigint);

CREATE FUNCTION load_customers() RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    RETURN wf_step('load', $sql$
        INSERT INTO customers SELECT (doc->>'id')::integer, doc->>'name' FROM raw WHERE source = 'customers' $sql$);
END $$;

CREATE FUNCTION load_orders_of(region text) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    rejected jsonb;
    loaded   jsonb;
BEGIN
    rejected := wf_step('reject', $sql$
        INSERT INTO rejected SELECT source, doc FROM raw
        WHERE source = 'orders' AND region = $1->>0
          AND NOT EXISTS (SELECT FROM customers c WHERE c.id = (doc->>'customer')::integer)
        $sql$, jsonb_build_array(region));
    loaded := wf_step('load', $sql$
        INSERT INTO orders SELECT (doc->>'id')::integer, region, (doc->>'customer')::integer, (doc->>'amount')::numeric FROM raw
        WHERE source = 'orders' AND region = $1->>0
          AND EXISTS (SELECT FROM customers c WHERE c.id = (doc->>'customer')::integer)
        $sql$, jsonb_build_array(region));
    RETURN jsonb_build_object('loaded', loaded, 'rejected', rejected);
END $$;

-- A child for each region, two at a time.
CREATE FUNCTION load_orders() RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    RETURN wf_map('region', workflow => 'load_orders_of', max_parallel => 2,
        query => $sql$ SELECT DISTINCT jsonb_build_object('region', region) FROM raw WHERE source = 'orders' ORDER BY 1 $sql$);
END $$;

CREATE FUNCTION load_payments() RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    RETURN wf_step('load', $sql$
        INSERT INTO payments SELECT (doc->>'order')::integer, (doc->>'amount')::numeric FROM raw WHERE source = 'payments' $sql$);
END $$;

CREATE FUNCTION etl() RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    orders   integer;
    payments integer;
    regions  jsonb;
    paid     jsonb;
BEGIN
    PERFORM wf_call('customers', 'load_customers');
    orders := wf_begin('orders', workflow => 'load_orders');
    payments := wf_begin('payments', workflow => 'load_payments');
    regions := wf_await(orders);
    paid := wf_await(payments);
    PERFORM wf_step('publish', $sql$
        INSERT INTO published SELECT (SELECT count(*) FROM customers), (SELECT count(*) FROM orders),
                                     (SELECT count(*) FROM payments), (SELECT count(*) FROM rejected) $sql$);
    RETURN jsonb_build_object('regions', regions, 'payments', paid);
END $$;

SELECT wf_start('etl', id => 'etl-1');
SELECT jsonb_pretty(wf_result('etl-1', wait => '30 s'));
SELECT id, parent, workflow, status FROM wf.workflows ORDER BY id COLLATE "C";

DO $$
BEGIN
    ASSERT (SELECT count(*) FROM orders) + (SELECT count(*) FROM rejected) = 300, 'each order is loaded or rejected';
    ASSERT (SELECT count(*) FROM rejected) = 9, 'those without a customer are rejected';
    ASSERT (SELECT count(*) FROM published) = 1, 'published once';
    ASSERT (SELECT p = (30, 291, 150, 9)::published FROM published p), 'with all there is';
    ASSERT (SELECT array_agg(id ORDER BY id COLLATE "C") FROM wf.workflows WHERE parent = 'etl-1/orders')
        = '{etl-1/orders/region/1,etl-1/orders/region/2,etl-1/orders/region/3}', 'a child a region';
    ASSERT (SELECT bool_and(status = 'completed') FROM wf.workflows), 'all are done';
END $$;
