-- A name and its owner; schedule_update.sql writes the rest. $1 schedule_id, $2 name, $3 owner, $4 now
INSERT INTO wf_internal.schedules (created_at, after_at, jitter, schedule_id, owner, paused, name, schedule, time_zone,
                                   search_path, overlap, catch_up, input, options)
VALUES ($4, $4, 0, $1, $3, false, $2, '', '', '', '', '', 'null', 'null')
ON CONFLICT (name, owner) DO NOTHING
RETURNING true
