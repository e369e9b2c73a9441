-- Runs that have ended, or are gone, and schedules that are gone.
DELETE FROM wf_internal.crashes c
WHERE NOT EXISTS (SELECT FROM wf_internal.runs r WHERE r.run_id = c.run_id AND r.finished_at IS NULL)
  AND NOT EXISTS (SELECT FROM wf_internal.schedules s WHERE s.schedule_id = c.run_id)
