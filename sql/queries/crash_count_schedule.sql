-- As crash_count, for a schedule. $1 schedule_id, $2 time
WITH counted AS (
    INSERT INTO wf_internal.crashes AS c (last_at, calls, attempts, run_id, owner, times, step)
    SELECT $2, s.fired + s.missed + s.skipped + s.failed, s.failures, s.schedule_id, s.owner, 1, ''
    FROM wf_internal.schedules s
    WHERE s.schedule_id = $1
    ON CONFLICT (run_id) DO UPDATE
    SET last_at = $2, calls = excluded.calls, attempts = excluded.attempts,
        times = CASE WHEN c.calls = excluded.calls AND c.attempts = excluded.attempts THEN c.times + 1 ELSE 1 END
    RETURNING c.times
)
SELECT k.times, s.name FROM counted k, wf_internal.schedules s WHERE s.schedule_id = $1
