-- A report a day, by cron, once a day whatever happens.
--
-- The id names the period. Starting an id that is there gives back what is there, so the cron job may come twice, come late,
-- or be run by hand: each day has one instance, and one report. A day that was missed is started by its date.
--
-- Temporal: a Schedule, or a workflow id per day with a reuse policy.
-- DBOS: a scheduled workflow, whose workflow id contains the scheduled time.
-- Prefect: a deployment with a cron schedule, and an idempotency key for runs that are started by hand.
--
-- Every night, and later if the server was down then:
--     SELECT wf_schedule('sales report', '5 0 * * *', sql => 'SELECT start_sales_report(current_date - 1)');
--
-- To be run as superuser in a fresh database that has the extension.

\set ON_ERROR_STOP on

CREATE TABLE sales (at timestamptz NOT NULL, product text NOT NULL, amount numeric NOT NULL);
INSERT INTO sales
    SELECT timestamptz '2026-03-01 00:00+00' + n * interval '1 hour', (ARRAY['tea', 'coffee'])[1 + n % 2], 1 + n % 7
    FROM generate_series(0, 71) n;
CREATE TABLE reports (day date NOT NULL, product text NOT NULL, sold numeric NOT NULL);
CREATE TABLE mails (recipient text NOT NULL, subject text NOT NULL, body text NOT NULL);

CREATE FUNCTION sales_report(day date) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    lines jsonb;
BEGIN
    lines := wf_step('sum up', $sql$
        INSERT INTO reports
            SELECT ($1->>'day')::date, product, sum(amount) FROM sales
            WHERE at >= ($1->>'day')::timestamp AT TIME ZONE 'UTC' AND at < (($1->>'day')::date + 1)::timestamp AT TIME ZONE 'UTC'
            GROUP BY product
            RETURNING product, sold $sql$, jsonb_build_object('day', day));
    PERFORM wf_step('mail', 'INSERT INTO mails VALUES (''boss@example.com'', ''Sales of '' || ($1->>''day''), $1->>''lines'')',
        jsonb_build_object('day', day, 'lines', lines));
    RETURN lines;
END $$;

CREATE FUNCTION start_sales_report(day date) RETURNS text LANGUAGE sql AS $$
    SELECT wf_start('sales_report', jsonb_build_object('day', day), id => 'sales-report-' || day)
$$;

-- Cron comes three times on one day, and once on the next.
SELECT start_sales_report('2026-03-01');
SELECT start_sales_report('2026-03-01');
SELECT wf_result('sales-report-2026-03-01', wait => '30 s');
SELECT start_sales_report('2026-03-01');
SELECT start_sales_report('2026-03-02');
SELECT wf_result('sales-report-2026-03-02', wait => '30 s');

-- Days of March without a report, started in one go:
SELECT start_sales_report(day::date) FROM generate_series(timestamp '2026-03-01', '2026-03-03', '1 day') day
WHERE NOT EXISTS (SELECT FROM wf.workflows WHERE id = 'sales-report-' || day::date);
SELECT wf_result('sales-report-2026-03-03', wait => '30 s');

SELECT * FROM reports ORDER BY day, product;

DO $$
BEGIN
    ASSERT (SELECT count(*) FROM wf.workflows WHERE workflow = 'sales_report') = 3, 'an instance a day';
    ASSERT (SELECT count(*) FROM mails) = 3 AND (SELECT count(DISTINCT subject) FROM mails) = 3, 'a mail a day';
    ASSERT (SELECT count(*) FROM reports) = 6, 'a line for each day and product';
    ASSERT (SELECT sum(sold) FROM reports) = (SELECT sum(amount) FROM sales), 'each sale counts once';
END $$;
