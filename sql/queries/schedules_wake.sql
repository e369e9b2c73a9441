-- Schedules that are for the start of the server, and have not acted on this one. $1 priority, $2 n
INSERT INTO wf_internal.ready (owner, priority, run_id, n, item)
SELECT s.owner, $1, s.schedule_id, $2, 1
FROM wf_internal.schedules s
WHERE s.schedule = '@reboot' AND NOT s.paused AND s.after_at < pg_catalog.pg_postmaster_start_time()
