-- What the server has counted so far, in one line: bytes of WAL, full-page images, transactions committed here,
-- transaction ids used, rows inserted, updated, of these HOT, deleted. :schema names the tables.
SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0'),
       (SELECT wal_fpi FROM pg_stat_wal),
       (SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()),
       pg_snapshot_xmax(pg_current_snapshot()),
       sum(n_tup_ins), sum(n_tup_upd), sum(n_tup_hot_upd), sum(n_tup_del)
FROM pg_stat_user_tables
WHERE schemaname = :'schema';
