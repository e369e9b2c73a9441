-- What each tenant got, beside what round robin would have given it: the first of each, the second of each, and so on.
\set QUIET on
\pset footer off
\pset linestyle ascii

CREATE TEMP VIEW turn AS
SELECT tenant, row_number() OVER (ORDER BY round, tenant) AS n FROM tenants, generate_series(1, backlog) AS round;

CREATE TEMP VIEW fairness AS
SELECT t.tenant, t.backlog, c.early, r.early AS early_by_turns, c.last, r.last AS last_by_turns,
       sum(t.backlog) OVER (ORDER BY t.tenant) AS last_by_age
FROM tenants t,
     LATERAL (SELECT count(*) FILTER (WHERE n <= :first) AS early, max(n) AS last, count(*) AS claims FROM claims WHERE tenant = t.tenant) AS c,
     LATERAL (SELECT count(*) FILTER (WHERE n <= :first) AS early, max(n) AS last FROM turn WHERE tenant = t.tenant) AS r;

\set early 'of the first ' :first
\echo
SELECT tenant, backlog, early AS :"early", early_by_turns AS "by round robin", last AS "last claim",
       last_by_turns AS "by round robin", last_by_age AS "by age"
FROM fairness ORDER BY tenant;

\pset tuples_only on
\pset format unaligned
\pset fieldsep '\t'
\o :raw
SELECT 1, 'fair.claims', count(*) FROM claims;
SELECT 1, 'fair.last_off', max(abs(last - last_by_turns)) FROM fairness;
SELECT 1, 'fair.early_off', max(abs(early - early_by_turns)) FROM fairness;
SELECT 1, 'fair.smallest_last', last FROM fairness ORDER BY backlog, tenant LIMIT 1;
\o
