-- $1 schedule_id
UPDATE wf_internal.schedules SET paused = true WHERE schedule_id = $1
