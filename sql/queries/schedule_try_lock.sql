-- For the executor that acts on it, if nobody is changing it. $1 schedule_id, $2 the executor's role
SELECT s.schedule_id, s.owner::oid, s.name, s.schedule, s.time_zone, s.workflow, s.command, s.search_path, s.input, s.options,
       s.overlap, s.catch_up, s.catch_up_window, s.jitter, s.starts_at, s.ends_at, s.paused,
       s.after_at, s.next_at, s.timer_at, s.queued_at, s.asked_at, s.last_tick, s.fired_at, s.fired_due, s.last_id, s.open_ids,
       s.fired, s.missed, s.skipped, s.failed, s.failures, s.error, s.failed_at
FROM wf_internal.schedules s
WHERE s.schedule_id = $1 AND s.owner = $2
FOR NO KEY UPDATE SKIP LOCKED
