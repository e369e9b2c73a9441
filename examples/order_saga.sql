-- Compensation: when an order cannot be completed, what was done for it is undone, the last first.
--
-- Behind each step that changes something stands what takes it back. If the workflow fails or is cancelled, those registered
-- so far are run; if it completes, none is.
--
-- Temporal: a list of compensations that the workflow keeps and runs in its error handler (in Java the class Saga).
-- DBOS: an except block in the workflow that calls the steps that undo.
-- Prefect: on_rollback hooks of the tasks in a transaction().
--
-- To be run as superuser in a fresh database that has the extension.

\set ON_ERROR_STOP on

CREATE TABLE stock (item text PRIMARY KEY, units integer NOT NULL CHECK (units >= 0));
CREATE TABLE cards (customer text PRIMARY KEY, money numeric NOT NULL CHECK (money >= 0));
CREATE TABLE countries (code text PRIMARY KEY);
CREATE TABLE parcels (order_id bigint PRIMARY KEY, country text NOT NULL REFERENCES countries);
INSERT INTO stock VALUES ('lamp', 10);
INSERT INTO cards VALUES ('ann', 100), ('bob', 10);
INSERT INTO countries VALUES ('DE'), ('FR');

-- The steps: ordinary functions that know nothing of workflows.
CREATE FUNCTION take(item text, units integer) RETURNS void LANGUAGE sql AS $$
    UPDATE stock SET units = stock.units - take.units WHERE stock.item = take.item
$$;
CREATE FUNCTION charge(customer text, amount numeric) RETURNS void LANGUAGE sql AS $$
    UPDATE cards SET money = money - amount WHERE cards.customer = charge.customer
$$;
CREATE FUNCTION book_parcel(order_id bigint, country text) RETURNS void LANGUAGE sql AS $$
    INSERT INTO parcels VALUES (order_id, country)
$$;

CREATE FUNCTION order_flow(order_id bigint, customer text, country text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM wf_step('take', 'take', '{"item": "lamp", "units": 1}');
    PERFORM wf_compensate('put back', 'take', '{"item": "lamp", "units": -1}');

    PERFORM wf_step('charge', 'charge', jsonb_build_object('customer', customer, 'amount', 30));
    PERFORM wf_compensate('refund', 'charge', jsonb_build_object('customer', customer, 'amount', -30));

    PERFORM wf_step('book parcel', 'book_parcel', jsonb_build_object('order_id', order_id, 'country', country));
    RETURN 'shipped';
END $$;

SELECT wf_start('order_flow', '{"order_id": 1, "customer": "ann", "country": "DE"}', id => 'order-1');
SELECT wf_start('order_flow', '{"order_id": 2, "customer": "bob", "country": "DE"}', id => 'order-2'); -- not enough money
SELECT wf_start('order_flow', '{"order_id": 3, "customer": "ann", "country": "AQ"}', id => 'order-3'); -- no such country

-- The first is shipped. The others end with the error of the step that failed, and leave nothing behind.
DO $$
DECLARE
    state text;
BEGIN
    ASSERT wf_result('order-1', wait => '30 s') = '"shipped"';
    BEGIN
        PERFORM wf_result('order-2', wait => '30 s');
        ASSERT false, 'order 2 was not refused';
    EXCEPTION WHEN check_violation THEN NULL;
    END;
    BEGIN
        PERFORM wf_result('order-3', wait => '30 s');
        ASSERT false, 'order 3 was not refused';
    EXCEPTION WHEN foreign_key_violation THEN NULL;
    END;
    ASSERT (SELECT units FROM stock) = 9, 'one lamp is gone';
    ASSERT (SELECT money FROM cards WHERE customer = 'ann') = 70, 'ann has paid once';
    ASSERT (SELECT money FROM cards WHERE customer = 'bob') = 10, 'bob has not paid';
    ASSERT (SELECT array_agg(order_id) FROM parcels) = '{1}', 'one parcel';
    -- What was undone, in the order in which it was.
    ASSERT wf_get('order-2')#>'{error,compensated}' = '[{"name": "put back", "status": "completed", "error": null}]';
    ASSERT jsonb_path_query_array(wf_get('order-3'), '$.error.compensated[*].name') = '["refund", "put back"]';
END $$;

SELECT id, name, kind, status FROM wf.steps WHERE workflow = 'order_flow' ORDER BY id, n;
