-- All but its key and name. $1 schedule_id, $2 to $16 what the user has said, $17 to $33 how it stands
UPDATE wf_internal.schedules
SET schedule = $2, time_zone = $3, workflow = $4, command = $5, search_path = $6, input = $7, options = $8, overlap = $9,
    catch_up = $10, catch_up_window = $11, jitter = $12, starts_at = $13, ends_at = $14, paused = $15, created_at = $16,
    after_at = $17, next_at = $18, timer_at = $19, queued_at = $20, asked_at = $21, last_tick = $22, fired_at = $23,
    fired_due = $24, last_id = $25, open_ids = $26, fired = $27, missed = $28, skipped = $29, failed = $30, failures = $31,
    error = $32, failed_at = $33
WHERE schedule_id = $1
