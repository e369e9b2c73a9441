-- All but its key and name. $1 schedule_id, $2 to $15 what the user has said, $16 to $32 how it stands
UPDATE wf_internal.schedules
SET schedule = $2, time_zone = $3, workflow = $4, command = $5, search_path = $6, input = $7, options = $8, overlap = $9,
    catch_up = $10, catch_up_window = $11, jitter = $12, starts_at = $13, ends_at = $14, paused = $15,
    after_at = $16, next_at = $17, timer_at = $18, queued_at = $19, asked_at = $20, last_tick = $21, fired_at = $22,
    fired_due = $23, last_id = $24, open_ids = $25, fired = $26, missed = $27, skipped = $28, failed = $29, failures = $30,
    error = $31, failed_at = $32
WHERE schedule_id = $1
