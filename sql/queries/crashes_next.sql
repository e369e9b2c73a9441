SELECT pg_catalog.min(c.until) FROM wf_internal.crashes c WHERE c.pause_id IS NOT NULL
