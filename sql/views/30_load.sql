SET LOCAL search_path = pg_catalog, pg_temp;
-- What the extension costs the server: everything here is of this database. As one list, so that any tool can store it.
-- pg_stat_activity shows the snapshots of others to those only who may see them.
CREATE VIEW wf.load WITH (security_barrier) AS
    SELECT 'processes' AS item, p.kind AS object, pg_catalog.count(*)::numeric AS value, 'processes' AS unit, NULL::text AS detail
    FROM wf_internal.processes() p GROUP BY p.kind
    UNION ALL
    SELECT 'wal', 'workers', (wf_internal.facts()->>'wal_bytes')::numeric, 'bytes', 'written by scheduler and executors since the server was started'
    UNION ALL
    SELECT x.item, c.relname, x.value, x.unit, NULL
    FROM pg_catalog.pg_class c
    CROSS JOIN LATERAL (VALUES
        ('table size', pg_catalog.pg_table_size(c.oid), 'bytes'),
        ('index size', pg_catalog.pg_indexes_size(c.oid), 'bytes'),
        ('rows', pg_catalog.pg_stat_get_live_tuples(c.oid), 'rows'),
        ('dead rows', pg_catalog.pg_stat_get_dead_tuples(c.oid), 'rows')) AS x(item, value, unit)
    WHERE c.relnamespace = 'wf_internal'::regnamespace AND c.relkind = 'r'
    UNION ALL
    SELECT 'snapshot', 'pid ' || a.pid, pg_catalog.age(a.backend_xmin), 'transactions',
           pg_catalog.format('held for %s%s', wf_internal.in_words(a.xact_start, pg_catalog.clock_timestamp()),
                             ' by step "' || w.step || '" of instance "' || w.id || '"')
    FROM wf.workers w JOIN pg_catalog.pg_stat_activity a USING (pid)
    WHERE a.backend_xmin IS NOT NULL;
COMMENT ON VIEW wf.load IS 'what the extension costs the server: processes, WAL, sizes and dead rows of its tables, and how old the snapshots are that its processes hold';

GRANT SELECT ON wf.load TO PUBLIC;
