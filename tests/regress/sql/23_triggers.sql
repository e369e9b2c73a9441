-- Changes of rows start workflows.
CREATE TABLE orders (id bigint PRIMARY KEY, item text, state text NOT NULL DEFAULT 'new', "Odd ""Name" int);
CREATE TABLE seen (what jsonb);
CREATE FUNCTION order_flow(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    PERFORM wf_step('see', 'INSERT INTO seen VALUES ($1)', input);
    RETURN input;
END $$;

-- The new row is the input; the id is an expression.
SELECT wf_on('orders', 'insert', 'order_flow', id => $$'order-' || NEW.id$$);
BEGIN;
INSERT INTO orders VALUES (1, 'pen');
SELECT id, status FROM wf.workflows;
COMMIT;
SELECT wf_result('order-1', wait => '10 s');
-- Not if the change is rolled back; each row of a statement, and of a COPY.
BEGIN;
INSERT INTO orders VALUES (2, 'pen');
ROLLBACK;
INSERT INTO orders SELECT i, 'many' FROM generate_series(3, 5) i;
COPY orders (id, item) FROM stdin;
6	copied
\.
SELECT id FROM wf.workflows ORDER BY id;
-- Only under a condition, and for some columns.
SELECT wf_on('orders', 'Update OF state, "Odd ""Name" or delete', 'order_flow', name => 'closes',
             input => $$jsonb_build_object('was', OLD.state, 'gone', NEW.id IS NULL) -- and that is all$$, id => $$'closes-' || OLD.id || coalesce(NEW.state, '')$$);
SELECT wf_on('orders', 'update', 'order_flow', "when" => $$NEW.state = 'paid' AND OLD.state <> 'paid'$$, name => 'pays', id => $$'pays-' || NEW.id$$,
             input => $$'{"größe\\x": "it''s \\000 paid"}'$$);
SELECT wf_on('orders', 'update of item or delete', 'order_flow', name => 'default_input', "when" => 'OLD.id = 5', id => $$'default-' || OLD.id || TG_NAME$$);
SELECT wf_on('orders', 'update of item or delete', 'order_flow', name => 'default_input', "when" => 'OLD.id = 5', id => $$'default-' || (NEW IS NULL)$$);
UPDATE orders SET item = 'changed' WHERE id = 5;
DELETE FROM orders WHERE id = 5;
INSERT INTO orders (id) VALUES (7);
UPDATE orders SET item = 'other' WHERE id = 3;
UPDATE orders SET state = 'paid' WHERE id = 3;
DELETE FROM orders WHERE id = 4;
SELECT id, input FROM wf.workflows WHERE id NOT LIKE 'order-%' ORDER BY id;
SELECT * FROM wf.triggers ORDER BY name;
\d orders
-- A start that fails fails the change.
INSERT INTO orders VALUES (1, 'again');
\echo :SQLSTATE
DELETE FROM orders WHERE id = 3;
INSERT INTO orders VALUES (3, 'with another input');
\echo :SQLSTATE
-- Taken away, once.
SELECT wf_off('orders', 'pays'), wf_off('orders', 'closes'), wf_off('orders', 'default_input'), wf_off('orders', 'pays'), wf_off('orders', 'nobody');
SELECT name FROM wf.triggers;
SELECT proname FROM pg_proc WHERE proname LIKE 'orders\_%';
UPDATE orders SET state = 'paid' WHERE id = 7;
SELECT count(*) FROM wf.workflows WHERE id LIKE 'pays-%';

-- Checked at the door: nothing is left behind.
SELECT wf_on('orders', 'truncate', 'order_flow');
\echo :SQLSTATE
SELECT wf_on('orders', 'insert or insert', 'order_flow');
SELECT wf_on('orders', 'update of nothing', 'order_flow', name => 'n');
\echo :SQLSTATE
SELECT wf_on('orders', 'insert', 'nobody');
\echo :SQLSTATE
SELECT wf_on('orders', 'insert', '');
SELECT wf_on('orders', 'insert', 'order_flow');
\echo :SQLSTATE
SELECT wf_on('nowhere', 'insert', 'order_flow');
\echo :SQLSTATE
CREATE VIEW paid AS SELECT * FROM orders WHERE state = 'paid';
SELECT wf_on('paid', 'insert', 'order_flow');
\echo :SQLSTATE
SELECT wf_on('orders', 'insert', 'order_flow', name => 'n', input => 'NEW.nothing');
\echo :SQLSTATE
SELECT wf_on('orders', 'insert', 'order_flow', name => 'n', input => 'to_jsonb(OLD)');
SELECT wf_on('orders', 'delete', 'order_flow', name => 'n', id => 'NEW.id');
SELECT wf_on('orders', 'insert', 'order_flow', name => 'n', input => 'NEW.id');
\echo :SQLSTATE
SELECT wf_on('orders', 'insert', 'order_flow', name => 'n', input => 'to_jsonb(');
\echo :SQLSTATE
SELECT wf_on('orders', 'insert', 'order_flow', name => 'n', input => 'to_jsonb(1)); DROP TABLE orders; SELECT (1');
\echo :SQLSTATE
SELECT wf_on('orders', 'insert', 'order_flow', name => 'n', id => 'order_id(NEW)');
SELECT wf_on('orders', 'insert', 'order_flow', name => 'n', "when" => 'NEW.nothing');
\echo :SQLSTATE
SELECT wf_on('orders', 'insert', 'order_flow', name => 'n', "when" => 'true) EXECUTE FUNCTION f(); SELECT (1');
\echo :SQLSTATE
SELECT wf_on('orders', 'insert', 'order_flow', name => 'n', "when" => 'OLD.id = 1');
SELECT wf_on('orders', 'insert', 'order_flow', name => repeat('n', 64));
SELECT wf_on('orders', NULL, 'order_flow');
SELECT wf_on(NULL, 'insert', 'order_flow');
CREATE FUNCTION fires() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
SELECT wf_on('orders', 'insert', 'fires');
CREATE TRIGGER own BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION fires();
SELECT wf_off('orders', 'own');
SELECT tgname FROM pg_trigger WHERE tgrelid = 'orders'::regclass ORDER BY 1;
SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace AND prorettype = 'trigger'::regtype ORDER BY 1;

-- Renames are followed, but for columns in input and id.
ALTER TABLE orders RENAME TO purchases;
INSERT INTO purchases VALUES (10, 'renamed');
SELECT wf_result('order-10', wait => '10 s')->>'item' AS item;
SELECT "table", name FROM wf.triggers;
ALTER TABLE purchases RENAME COLUMN id TO number;
INSERT INTO purchases VALUES (11, 'fails');
\echo :SQLSTATE
SELECT wf_off('purchases', 'wf_order_flow');

-- Partitions have it, and so have those that come later.
CREATE TABLE events (at int, what text) PARTITION BY RANGE (at);
CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM (0) TO (10);
SELECT wf_on('events', 'insert', 'order_flow', id => $$'event-' || NEW.at$$);
CREATE TABLE events_2 (what text, at int);
ALTER TABLE events ATTACH PARTITION events_2 FOR VALUES FROM (10) TO (20);
INSERT INTO events VALUES (1, 'a'), (11, 'b');
INSERT INTO events_2 VALUES ('c', 12);
SELECT id, wf_result(id, wait => '10 s') AS result FROM wf.workflows WHERE id LIKE 'event-%' ORDER BY id;
SELECT "table", name FROM wf.triggers;
SELECT wf_off('events_1', 'wf_order_flow'), wf_off('events', 'wf_order_flow');
INSERT INTO events VALUES (2, 'd');
SELECT count(*) FROM wf.workflows WHERE id LIKE 'event-%';

-- A dropped table takes the trigger along; its function is replaced by the next of that name.
CREATE TABLE short_lived (id int);
SELECT wf_on('short_lived', 'insert', 'order_flow');
DROP TABLE short_lived;
SELECT count(*) FROM wf.triggers;
CREATE TABLE short_lived (id int);
SELECT wf_on('short_lived', 'insert', 'order_flow');
SELECT wf_off('short_lived', 'wf_order_flow');
-- Names that do not fit are shortened.
SELECT wf_define(repeat('long ', 20), 'order_flow');
SELECT wf_on('short_lived', 'insert', repeat('long ', 20));
INSERT INTO short_lived VALUES (1);
SELECT count(*) FROM wf.workflows WHERE workflow LIKE 'long%';
-- A function that somebody else has made of that name is left alone.
CREATE FUNCTION short_lived_n() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
SELECT wf_on('short_lived', 'insert', 'order_flow', name => 'n');
\echo :SQLSTATE

-- The workflow is owned by who has called wf_on, and has its search_path; who changes the row gains nothing else.
CREATE ROLE regress_dora LOGIN;
CREATE ROLE regress_eve LOGIN;
CREATE ROLE regress_nologin NOLOGIN;
CREATE SCHEMA dora AUTHORIZATION regress_dora;
SET ROLE regress_dora;
SET search_path = dora, public;
CREATE TABLE dora.inbox (id int, text text);
CREATE FUNCTION dora.who() RETURNS text LANGUAGE sql AS $$ SELECT current_user::text $$;
CREATE FUNCTION dora.take(input jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RETURN wf_step('who', 'who'); END $$;
REVOKE ALL ON FUNCTION dora.take(jsonb), dora.who() FROM PUBLIC;
GRANT USAGE ON SCHEMA dora TO regress_eve;
GRANT INSERT ON dora.inbox TO regress_eve;
SELECT wf_on('inbox', 'insert', 'take', id => $$'inbox-' || NEW.id$$);
RESET search_path;
SET ROLE regress_eve;
SELECT wf_start('dora.take');
\echo :SQLSTATE
INSERT INTO dora.inbox VALUES (1, 'x');
SELECT wf_status('inbox-1');
\echo :SQLSTATE
SHOW search_path;
SELECT count(*) FROM wf.triggers;
CREATE TEMP TABLE own (id int, text text);
CREATE TRIGGER stolen AFTER INSERT ON own FOR EACH ROW EXECUTE FUNCTION dora.inbox_wf_take();
\echo :SQLSTATE
SELECT wf_off('dora.inbox', 'wf_take');
\echo :SQLSTATE
SELECT wf_on('dora.inbox', 'insert', 'order_flow');
\echo :SQLSTATE
SET ROLE regress_dora;
SELECT wf_result('inbox-1', wait => '10 s');
SELECT id, owner FROM wf.workflows WHERE workflow = 'take';
SELECT name, owner FROM wf.triggers;
-- What Dora may not call any more is not started.
RESET ROLE;
ALTER FUNCTION dora.take(jsonb) OWNER TO postgres;
REVOKE ALL ON FUNCTION dora.take(jsonb) FROM regress_dora;
SET ROLE regress_eve;
INSERT INTO dora.inbox VALUES (2, 'x');
\echo :SQLSTATE
RESET ROLE;
SET ROLE regress_nologin;
CREATE TEMP TABLE own_2 (id int);
SELECT wf_on('own_2', 'insert', 'order_flow');
\echo :SQLSTATE
RESET ROLE;

-- DROP EXTENSION is refused while a trigger would call into nothing; CASCADE takes the triggers along.
DROP EXTENSION pg_workflow;
\echo :SQLSTATE
SET client_min_messages = warning;
DROP EXTENSION pg_workflow CASCADE;
INSERT INTO dora.inbox VALUES (3, 'x');
SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal AND tgname <> 'own';
DROP SCHEMA dora CASCADE;
DROP TABLE own, own_2;
DROP OWNED BY regress_dora, regress_eve, regress_nologin;
DROP ROLE regress_dora, regress_eve, regress_nologin;
