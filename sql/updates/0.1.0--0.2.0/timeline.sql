SET LOCAL search_path = pg_catalog, pg_temp;
-- What was done to one run, in its timeline.
CREATE INDEX actions_run ON wf_internal.actions (run_id, seq) WHERE run_id IS NOT NULL;
