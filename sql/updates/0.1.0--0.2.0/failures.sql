SET LOCAL search_path = pg_catalog, pg_temp;
-- wf.failures and wf.alerts find what has failed by it.
CREATE INDEX runs_failed ON wf_internal.runs (run_id) WHERE error IS NOT NULL;
