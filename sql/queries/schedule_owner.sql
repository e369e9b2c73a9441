-- $1 schedule_id
SELECT s.owner::oid FROM wf_internal.schedules s WHERE s.schedule_id = $1
