-- $1 schedule_id
DELETE FROM wf_internal.schedules s WHERE s.schedule_id = $1
